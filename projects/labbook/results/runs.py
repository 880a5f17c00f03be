"""Read the run folders of a study; a laptop with copied folders is enough."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from labbook.config.studies import Study, find_studies
from runfolder.names import CONFIG
from runfolder.run import Run, read_run
from runfolder.yaml_files import read_yaml

logger = logging.getLogger(__name__)


def find_runs(study: Study, root: Path) -> list[Run]:
    """The run folders of ``study`` below ``root``, in the order of its plan.

    A folder that cannot be read is left out, and said.
    """
    return read_runs(study, root)[0]


def read_runs(
    study: Study, root: Path, names: Iterable[str] = (), folders: Iterable[Path] = ()
) -> tuple[list[Run], dict[Path, str]]:
    """The runs of ``study``, and the folders that cannot be read with the reason.

    Args:
        study: the study.
        root: the project's root folder.
        names: run names that belong to the study even before their folder holds a config.
        folders: run folders that count as the study's, wherever they are and whatever they declare.
    """
    runs, damaged, known = [], {}, set(names)
    own = sorted((root / study.work_folder).glob("*/"))
    added = {folder.resolve(): folder for folder in folders}
    elsewhere = [added[place] for place in added.keys() - {folder.resolve() for folder in own}]
    for folder in [*own, *sorted(elsewhere)]:
        is_added = folder.resolve() in added
        try:
            run = read_run(folder)
        except Exception as error:  # one damaged folder must not hide the others
            if is_added or _study_in(folder) in (study.name, None):
                logger.warning("%s cannot be read: %s", folder, error)
                damaged[folder] = str(error)
            continue
        declared = run.experiment.get("study")
        if is_added or declared == study.name or (declared is None and folder.name in known):
            is_taken = folder.name in [other.label for other in runs]
            runs.append(replace(run, alias=str(folder) if is_taken else ""))
    return sorted(runs, key=lambda run: study.place(run.name)), damaged


def on_other_data(study: Study, root: Path) -> list[Study]:
    """The study once for each other data set that it has runs on, with its folder below the work
    folder (:func:`labbook.config.overrides.keep_data_apart`)."""
    taken = {one.work_folder for one in find_studies(root).values()}
    folders = sorted((root / study.work_folder).glob("*/"))
    places = {f"{study.work_folder}/{folder.name}": folder for folder in folders}
    return [
        replace(study, work_folder=place, data=folder.name)
        for place, folder in places.items()
        if place not in taken and any(_is_made_in(folder, run, study) for run in folder.glob("*/"))
    ]


def has_runs(study: Study, root: Path) -> bool:
    """Whether a run lies in the study's work folder."""
    return any(_study_in(folder) == study.name for folder in (root / study.work_folder).glob("*/"))


def run_folder(name: str, root: Path, work_folders: Iterable[str] = ()) -> Path | None:
    """The run folder that a path, or the name of a folder in one of ``work_folders``, names."""
    places = [Path(name), root / name, *(root / folder / name for folder in work_folders)]
    return next((folder for folder in places if (folder / CONFIG).is_file()), None)


def _is_made_in(place: Path, folder: Path, study: Study) -> bool:
    """Whether a run of the study was made in ``place``, not put there since as into ``older``."""
    try:
        cfg = read_yaml(folder / CONFIG)
        made = Path(cfg["train"]["output_dir"]).parent.name
        return (cfg["experiment"]["study"], made) == (study.name, place.name)
    except Exception:  # no run folder, or a damaged one
        return False


def _study_in(folder: Path) -> str | None:
    """What a damaged run folder's config says that it belongs to, if it can still be asked."""
    try:
        return read_yaml(folder / CONFIG)["experiment"]["study"]
    except Exception:  # that is the damage
        return None
