"""Records of files: what was read, what was written."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import runfolder.files
from eventcam.errors import EventDataError
from eventcam.io.rvt_layout import HISTOGRAM, RECORD


def describe_file(path: Path) -> dict[str, Any]:
    """Name, size, time of last change and SHA-256 of a source file."""
    stat = path.stat()
    return {
        "file": path.name,
        "bytes": stat.st_size,
        "modified_ns": stat.st_mtime_ns,
        "sha256": _sha256(path),
    }


def same_file(path: Path, noted: dict[str, Any]) -> bool:
    """Whether the file still has the content that was noted; read only if size or time differ."""
    stat = path.stat()
    if stat.st_size != noted.get("bytes"):
        return False
    return stat.st_mtime_ns == noted.get("modified_ns") or _sha256(path) == noted.get("sha256")


def describe_outputs(folder: Path) -> dict[str, int]:
    """Sizes in bytes of the files below ``folder``, without its record; detects missing ones."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def settings_of(content: dict[str, Any]) -> dict[str, Any]:
    """The settings in a manifest or record; older ones do not say that they are of histograms."""
    return {"representation": HISTOGRAM, **(content.get("settings") or {})}


def check_settings(
    root: Path, found: dict[str, Any], wanted: dict[str, str | None], command: str
) -> None:
    """Refuse a folder that was prepared otherwise than ``wanted``, where that says something.

    Args:
        root: the folder.
        found: its settings.
        wanted: some of them, by name; None takes any.
        command: what prepares recordings so.

    Raises:
        EventDataError: so.
    """
    for name, value in wanted.items():
        if value not in (None, found.get(name, value)):
            raise EventDataError(
                f"{root} was prepared with {name} {found[name]!r}, but {value!r} is asked for: set "
                f"{name} to {found[name]!r}, or prepare the recordings into another folder with "
                f"`{command}`."
            )


def left_out_boxes(manifest: dict[str, Any]) -> dict[str, Counter[str]]:
    """How many boxes of each recording a filter of the preparation left out, by reason."""
    reasons = ("boxes_too_small", "boxes_too_wide")
    records = manifest.get("recordings", {})
    return {
        key: +Counter({r: record.get("dropped_or_changed", {}).get(r, 0) for r in reasons})
        for key, record in records.items()
    }


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        EventDataError: the file is damaged or missing.
    """
    try:
        content = runfolder.files.read_json(path)
    except (OSError, ValueError) as error:
        raise EventDataError(f"{error} Preparing again writes a new one.") from error
    if content is None:
        raise EventDataError(f"There is no {path}. Prepare the recordings again.")
    return content


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
