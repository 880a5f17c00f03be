"""What of a study can be removed, and removing just that."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from labbook.config.studies import STUDIES, Study
from labbook.results.runs import find_runs
from runfolder.locks import held
from runfolder.records import RunIsRunningError, run_status
from runfolder.run import Run

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
SOURCE_NAME = "_annotations.coco.json"
FILTERED_NAME = "_annotations.coco_filtered.json"
_RECOGNISED_BY = ("config.yaml", "run.json")


@dataclass(frozen=True)
class Removable:
    """What would be removed, and what is left alone with the reason."""

    run_folders: list[Path] = field(default_factory=list)
    filtered_files: list[Path] = field(default_factory=list)
    kept: dict[Path, str] = field(default_factory=dict)


def find_removable(study: Study, root: Path, names: Iterable[str] = ()) -> Removable:
    """The run folders of ``study`` and the filtered annotation files of their data.

    A run folder is a real folder, directly in the study's work folder, with a record and a config
    of the study. A filtered file lies beside its source, from which it can be built again, and
    says that it was made from that.

    Args:
        study: the study.
        root: the project's root folder.
        names: only runs of these experiments (run names); then the data are left alone.
    """
    names = set(names)
    runs = [run for run in find_runs(study, root) if not names or run.name in names]
    found = Removable()
    for run in runs:
        reason = why_kept(run.folder)
        if reason:
            found.kept[run.folder] = reason
        else:
            found.run_folders.append(run.folder)
    in_use = data_folders(running_runs(root), root)
    for folder in data_folders(runs, root) if not names else []:
        path = folder / FILTERED_NAME
        if path.is_symlink():
            found.kept[path] = "it is a link"
        elif is_filtered_file(path) and folder in in_use:
            found.kept[path] = "a running run reads it"
        elif is_filtered_file(path):
            found.filtered_files.append(path)
    return found


def running_runs(root: Path) -> list[Run]:
    """The running runs of all studies."""
    runs = [run for study in STUDIES.values() for run in find_runs(study, root)]
    return [run for run in runs if run.status == "running"]


def why_kept(folder: Path) -> str | None:
    """Why a folder must not be removed; None if it may."""
    if folder.is_symlink():
        return "it is a link to another folder"
    missing = [name for name in _RECOGNISED_BY if not (folder / name).is_file()]
    if missing:
        return f"it is no run folder, it has no {' and no '.join(missing)}"
    if any(folder.glob("*/run.json")):
        return "it holds other runs"
    try:
        return "it is running" if run_status(folder) == "running" else None
    except ValueError as error:
        return str(error)


def data_folders(runs: Iterable[Run], root: Path) -> list[Path]:
    """The folders of the splits that the runs' configs name."""
    roots = {str((run.config.get("dataset") or {}).get("root") or "") for run in runs}
    return [root / name / split for name in sorted(roots - {""}) for split in SPLITS]


def is_filtered_file(path: Path) -> bool:
    """Whether ``path`` is a filtered annotation file beside the source that it was made from."""
    if not path.is_file() or not path.with_name(SOURCE_NAME).is_file():
        return False
    try:
        info = json.loads(path.read_text(encoding="utf-8"))["info"]
        return info["source"] == SOURCE_NAME and "filter_report" in info
    except (OSError, ValueError, KeyError, TypeError):
        return False


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links count for nothing."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def remove(found: Removable) -> list[str]:
    """Remove what was found, and nothing that has changed its nature since.

    Returns:
        A sentence for each thing that could not be removed.
    """
    problems = []
    for folder in found.run_folders:
        try:
            with held(folder):  # nobody may start in it meanwhile
                reason = why_kept(folder)
                if reason:
                    problems.append(f"{folder} was left alone: {reason}.")
                else:
                    _remove_folder(folder)
        except (OSError, RunIsRunningError) as error:
            problems.append(f"{folder} was not removed: {error}")
    for path in found.filtered_files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            problems.append(f"{path} was not removed: {error.strerror}.")
    return problems


def _remove_folder(folder: Path) -> None:
    """Remove what a run is recognised by last: what an interruption leaves can be found again."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name not in _RECOGNISED_BY:
            entry.unlink()
    shutil.rmtree(folder)
