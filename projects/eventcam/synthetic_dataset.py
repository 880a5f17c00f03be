"""Generated data sets: a whole folder of recordings, made once, by whoever comes first."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import uuid
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from iopath.common.file_io import file_lock

from eventcam.errors import EventDataError
from eventcam.io import write_bbox, write_h5_recording
from eventcam.synthetic_recording import generate_recording
from eventcam.synthetic_settings import SPLITS, GeneratedRecordings

GENERATOR_VERSION = 3  # raised whenever equal parameters give other files
MARKER_NAME = "generated.json"
_LOCK_NAME = "generated"  # file_lock adds .lock

logger = logging.getLogger(__name__)


def ensure_dataset(root: Path, wanted: GeneratedRecordings, workers: int = 1) -> None:
    """Generate the data set ``root`` unless it is there already with these parameters.

    A folder that this function did not make is never touched. Others who want the same data at
    the same time wait; what an interrupted run left is made again.

    Args:
        root: gets ``train``, ``val`` and ``test`` with ``<name>_td.h5`` and ``<name>_bbox.npy``.
        wanted: what is to be there.
        workers: processes; the files do not depend on it.

    Raises:
        EventDataError: ``root`` holds other data, or was generated with other parameters.
    """
    root = Path(root)
    done = _marker(wanted, complete=True)
    if _read_marker(root) == done:
        return
    _require_ours(root)
    with file_lock(str(root / _LOCK_NAME)):
        marker = _read_marker(root)
        if marker is not None:
            _check_parameters(root, marker, wanted)
        if marker != done:
            generate_dataset(root, wanted, workers)


def generate_dataset(root: Path, wanted: GeneratedRecordings, workers: int = 1) -> None:
    """Write every split beside its place and move it there whole, then the marker file.

    Replaces splits of these names; ``ensure_dataset`` is the careful entrance.
    """
    root.mkdir(parents=True, exist_ok=True)
    _write_marker(root, _marker(wanted, complete=False))
    for split in SPLITS:
        count, partial_folder = getattr(wanted, split), root / f".partial-{split}"
        logger.info("Generating %d recordings in %s", count, root / split)
        for leftover in (partial_folder, root / split):
            shutil.rmtree(leftover, ignore_errors=True)
        partial_folder.mkdir()
        _write_split(partial(write_recording, partial_folder, wanted, split), count, workers)
        partial_folder.rename(root / split)
    _write_marker(root, _marker(wanted, complete=True))


def _write_split(write: partial[str], count: int, workers: int) -> None:
    if workers <= 1 or count == 1:
        for number in range(count):
            write(number)
        return
    # Forked children of a process with threads may hang; spawned ones do not.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, count), mp_context=context) as pool:
        list(pool.map(write, range(count)))


def write_recording(folder: Path, wanted: GeneratedRecordings, split: str, number: int) -> str:
    """Write recording ``number`` of a split and its labels to ``folder``.

    Returns:
        Its name: ``<name>_td.h5`` and ``<name>_bbox.npy`` were written.
    """
    name = f"{split}_day_{number + 1:04d}"
    settings = wanted.scene()
    events, labels = generate_recording(settings, [wanted.seed, SPLITS.index(split), number])
    write_bbox(folder / f"{name}_bbox.npy", labels)
    write_h5_recording(folder / f"{name}_td.h5", events, settings.width, settings.height)
    return name


def _marker(wanted: GeneratedRecordings, complete: bool) -> dict[str, Any]:
    return {
        "generator": GENERATOR_VERSION,
        "parameters": wanted.parameters(),
        "complete": complete,
    }


def _require_ours(root: Path) -> None:
    """Make ``root``, or see that it is marked as generated or empty."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        strangers = [path.name for path in root.iterdir() if not _is_ours(path.name)]
    except OSError as error:
        raise EventDataError(
            f"The recordings {root} are to be generated, but that folder cannot be made "
            f"({error.strerror}). Choose a place where you may write."
        ) from error
    # The marker is read after the listing: another process may have put both there meanwhile.
    if strangers and _read_marker(root) is None:
        raise EventDataError(
            f"{root} is not empty and was not generated ({', '.join(sorted(strangers)[:5])}), so "
            f"it is left alone. Use it as it is, or name a new folder for generated recordings."
        )


def _is_ours(name: str) -> bool:
    # What another process, at work at this moment, may have put there.
    return name.startswith((_LOCK_NAME, f".{MARKER_NAME}", ".partial-"))


def _check_parameters(root: Path, marker: dict[str, Any], wanted: GeneratedRecordings) -> None:
    asked = _marker(wanted, complete=bool(marker.get("complete")))
    if marker != asked:
        differing = [
            f"{key}: {marker.get(key)} there, {asked[key]} asked for"
            for key in ("generator", "parameters")
            if marker.get(key) != asked[key]
        ]
        raise EventDataError(
            f"{root} was generated with other parameters ({'; '.join(differing)}). Delete that "
            f"folder to make it anew, or name another one."
        )


def _read_marker(root: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((root / MARKER_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EventDataError(
            f"{root / MARKER_NAME} cannot be read ({error}). If the folder holds generated data, "
            f"delete it and start again."
        ) from error
    return content if isinstance(content, dict) else {}


def _write_marker(root: Path, content: dict[str, Any]) -> None:
    temporary = root / f".{MARKER_NAME}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    temporary.replace(root / MARKER_NAME)
