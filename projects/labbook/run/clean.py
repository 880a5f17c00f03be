"""What of a study can be removed, and removing just that."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from labbook.config.studies import Study, find_studies
from labbook.results.runs import find_runs, on_other_data
from runfolder.locks import lock_run
from runfolder.names import CONFIG, RECORD, SPLITS, WRITTEN
from runfolder.records import RunIsRunningError, run_status
from runfolder.run import Run

_RECOGNISED_BY = (CONFIG, RECORD)


@dataclass(frozen=True)
class Removable:
    """What would be removed, and what is left alone with the reason."""

    run_folders: list[Path] = field(default_factory=list)
    derived_files: list[Path] = field(default_factory=list)
    kept: dict[Path, str] = field(default_factory=dict)


def find_removable(study: Study, root: Path, names: Iterable[str] = ()) -> Removable:
    """The run folders of ``study`` and the annotation files that were made from its data.

    A run folder is a real folder, directly in the study's work folder or in that of another data
    set, with a record and a config of the study; files in it that no run writes are kept. See
    :func:`derived_files` for the others. With ``names`` (run names), only runs of these
    experiments, and the data are left alone.
    """
    names, found = set(names), Removable()
    runs = [run for run in _runs(study, root) if not names or run.name in names]
    for run in runs:
        if reason := why_kept(run.folder):
            found.kept[run.folder] = reason
        else:
            found.run_folders.append(run.folder)
            for path in unknown_files(run.folder):
                found.kept[path] = "no run writes such a file"
    if names:
        return found
    everything = [run for one in find_studies(root).values() for run in _runs(one, root)]
    in_use = {_data_root(run, root) for run in everything if run.status == "running"}
    for path in derived_files(runs, root):
        if path.parents[1] in in_use:
            found.kept[path] = "a running run reads it"
        else:
            found.derived_files.append(path)
    return found


def _runs(study: Study, root: Path) -> list[Run]:
    """Those on every data set."""
    places = study, *on_other_data(study, root)
    return [run for place in places for run in find_runs(place, root)]


def why_kept(folder: Path) -> str | None:
    """Why a folder must not be removed; None if it may."""
    if folder.is_symlink():
        return "it is a link to another folder"
    missing = [name for name in _RECOGNISED_BY if not (folder / name).is_file()]
    if missing:
        return f"it is no run folder, it has no {' and no '.join(missing)}"
    if any(folder.glob(f"*/{RECORD}")):
        return "it holds other runs"
    try:
        return "it is running" if run_status(folder) == "running" else None
    except ValueError as error:
        return str(error)


def unknown_files(folder: Path) -> list[Path]:
    """What somebody else has put into a run folder: files, and links, that no run writes."""
    entries = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path for path in entries if not _is_written(path.relative_to(folder)))


def _is_written(path: Path) -> bool:
    return any(fnmatch(path.as_posix(), pattern) for pattern in WRITTEN)


def derived_files(runs: Iterable[Run], root: Path) -> list[Path]:
    """Annotation files in the runs' data that can be made again from a file beside them.

    They are called as the runs' evaluations say (``annotation_file``), lie in the folder of a
    split, and say themselves from which file they were made (``info.source``).
    """
    found: set[Path] = set()
    for run in runs:
        for split in SPLITS:
            if name := run.evaluation(split).get("annotation_file"):
                found.update(_data_root(run, root).glob(f"*/{Path(name).name}"))
    return sorted(path for path in found if is_derived(path))


def is_derived(path: Path) -> bool:
    """Whether an annotation file says that it was made from another one, which is there."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        source = json.loads(path.read_text(encoding="utf-8"))["info"]["source"]
        return source != path.name and path.with_name(source).is_file()
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
            with lock_run(folder):  # nobody may start in it meanwhile
                if reason := why_kept(folder):
                    problems.append(f"{folder} was left alone: {reason}.")
                else:
                    _remove_folder(folder)
        except (OSError, RunIsRunningError) as error:
            problems.append(f"{folder} was not removed: {error}")
    for path in found.derived_files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            problems.append(f"{path} was not removed: {error.strerror}.")
    return problems


def _data_root(run: Run, root: Path) -> Path:
    """Where a run's data lie; a folder that is not there if its config names none."""
    return root / str((run.config.get("dataset") or {}).get("root") or "no data")


def _remove_folder(folder: Path) -> None:
    """Remove what a run is recognised by last: what an interruption leaves can be found again."""
    unknown, last = set(unknown_files(folder)), [folder / name for name in _RECOGNISED_BY]
    for path in sorted(folder.rglob("*"), reverse=True):  # what lies in a folder before the folder
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # not empty
                path.rmdir()
        elif path not in unknown and path not in last:
            path.unlink()
    for path in last:
        path.unlink()
    with suppress(OSError):
        folder.rmdir()
