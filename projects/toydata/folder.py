"""A folder of generated data: made once, by whoever comes first, and marked with its parameters."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from runfolder.files import read_json, write_json

MARKER_NAME = "generated.json"
_LOCK_NAME = "generated.lock"

logger = logging.getLogger(__name__)

Marker = dict[str, Any]


class GeneratedDataError(ValueError):
    """Generated data cannot be made as asked, or would replace other data."""


def ensure_folder(
    root: Path, version: int, parameters: Mapping[str, Any], writers: Mapping[str, Callable]
) -> None:
    """Write the splits of ``root`` unless they are there already with these parameters.

    A folder that this function did not make is never touched. Others who want the same data at
    the same time wait; what an interrupted run left is made again.

    Args:
        root: gets a folder for each split and the marker file.
        version: of the generator; raised whenever equal parameters give other files.
        parameters: all that decides the files, as JSON holds it.
        writers: by split, a function that makes its folder at the path that it is given.

    Raises:
        GeneratedDataError: ``root`` holds other data, or was generated with other parameters.
    """
    root = Path(root)
    wanted: Marker = {"generator": version, "parameters": dict(parameters)}
    if _read_marker(root) == wanted | {"complete": True}:
        return
    _require_ours(root)
    with FileLock(root / _LOCK_NAME):
        marker = _read_marker(root)
        if marker is not None:
            _check_parameters(root, marker, wanted)
        if marker != wanted | {"complete": True}:
            _write(root, wanted, writers)


def _write(root: Path, wanted: Marker, writers: Mapping[str, Callable]) -> None:
    """Write each split beside its place and move it there whole. Call with the lock held."""
    write_json(root / MARKER_NAME, wanted | {"complete": False})
    for split, write in writers.items():
        partial = root / f".partial-{split}"
        logger.info("Generating %s", root / split)
        for leftover in (partial, root / split):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir()
        write(partial)
        partial.rename(root / split)
    write_json(root / MARKER_NAME, wanted | {"complete": True})


def _require_ours(root: Path) -> None:
    """Make ``root``, or see that it is marked as generated or empty."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        strangers = [path.name for path in root.iterdir() if not _is_ours(path.name)]
    except OSError as error:
        raise GeneratedDataError(
            f"Data are to be generated in {root}, but that folder cannot be made "
            f"({error.strerror}). Set dataset.root=... to a place where you may write."
        ) from error
    # The marker is read after the listing: another process may have put both there meanwhile.
    if strangers and _read_marker(root) is None:
        raise GeneratedDataError(
            f"{root} is not empty and was not generated ({', '.join(sorted(strangers)[:5])}), so "
            "it is left alone. To use it as it is, set dataset.generate=null; to generate, set "
            "dataset.root=... to a new folder."
        )


def _is_ours(name: str) -> bool:
    # What another process, at work at this moment, may have put there.
    return name.startswith((_LOCK_NAME, ".partial-")) or name.endswith(f".{MARKER_NAME}")


def _check_parameters(root: Path, marker: Marker, wanted: Marker) -> None:
    differing = [
        f"{key}: {marker.get(key)} there, {wanted[key]} asked for"
        for key in wanted
        if marker.get(key) != wanted[key]
    ]
    if differing:
        raise GeneratedDataError(
            f"{root} was generated with other parameters ({'; '.join(differing)}). Delete that "
            "folder to make it anew, or set dataset.root=... to another one."
        )


def _read_marker(root: Path) -> Marker | None:
    try:
        return read_json(root / MARKER_NAME)
    except (OSError, ValueError) as error:
        raise GeneratedDataError(
            f"{error} If {root} holds generated data, delete it and start again."
        ) from error
