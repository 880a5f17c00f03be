"""Read the run folders of a study; a laptop with copied folders is enough."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from omegaconf import OmegaConf

from labbook.config.studies import Study
from runfolder.names import CONFIG
from runfolder.run import Run, read_run

logger = logging.getLogger(__name__)


def find_runs(study: Study, root: Path) -> list[Run]:
    """The run folders of ``study`` below ``root``, in the order of its plan.

    A folder that cannot be read is left out, and said.
    """
    return read_runs(study, root)[0]


def read_runs(
    study: Study, root: Path, names: Iterable[str] = ()
) -> tuple[list[Run], dict[Path, str]]:
    """The runs of ``study``, and the folders that cannot be read with the reason.

    Args:
        study: the study.
        root: the project's root folder.
        names: run names that belong to the study even before their folder holds a config.
    """
    runs, damaged, known = [], {}, set(names)
    for folder in sorted((root / study.work_folder).glob("*/")):
        try:
            run = read_run(folder)
        except Exception as error:  # one damaged folder must not hide the others
            if _study_in(folder) in (study.name, None):
                logger.warning("%s cannot be read: %s", folder, error)
                damaged[folder] = str(error)
            continue
        declared = run.experiment.get("study")
        if declared == study.name or (declared is None and folder.name in known):
            runs.append(run)
    return sorted(runs, key=lambda run: study.place(run.name)), damaged


def _study_in(folder: Path) -> str | None:
    """What a damaged run folder's config says that it belongs to, if it can still be asked."""
    try:
        return OmegaConf.load(folder / CONFIG).experiment.study
    except Exception:  # that is the damage
        return None
