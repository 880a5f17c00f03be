"""Writing recordings in eTraM's layout: events as HDF5, boxes as a structured array."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.bbox import BBOX_DTYPE, without_gaps
from eventcam.io.events import Events
from eventcam.io.hdf5 import COMPRESSION, create_h5
from runfolder.files import replacing

_COLUMNS = {"x": np.uint16, "y": np.uint16, "p": np.uint8, "t": np.int64}
_BLOCK = 1 << 16  # events in one compressed block of the file


def write_h5_recording(path: Path, chunks: Iterable[Events], width: int, height: int) -> int:
    """Write events block by block; the file appears under its name only when it is whole.

    Args:
        path: file to write, such as ``train/street_td.h5``; its folder is made.
        chunks: blocks of events in the order in which they are to be read.
        width: sensor width, px.
        height: sensor height, px.

    Returns:
        Number of events written.
    """
    with replacing(Path(path)) as partial, create_h5(partial) as file:
        group = file.create_group("events")
        group.create_dataset("width", data=width)
        group.create_dataset("height", data=height)
        for name, kind in _COLUMNS.items():
            group.create_dataset(
                name, shape=(0,), maxshape=(None,), chunks=(_BLOCK,), dtype=kind, **COMPRESSION
            )
        return sum(_append(group, chunk) for chunk in chunks)


def write_bbox(path: Path, labels: np.ndarray) -> None:
    """Write boxes (structured, ``BBOX_DTYPE``) as ``*_bbox.npy``; its folder is made.

    Raises:
        EventDataError: the array has other fields.
    """
    if labels.dtype.names is None or set(labels.dtype.names) != set(BBOX_DTYPE.names or ()):
        raise EventDataError(
            f"Boxes for {path} have the fields {labels.dtype.names}, expected was a structured "
            f"array with {BBOX_DTYPE.names} (eventcam.io.BBOX_DTYPE)."
        )
    with replacing(Path(path)) as partial:
        np.save(partial, without_gaps(labels))


def _append(group: Any, events: Events) -> int:
    start, added = group["t"].shape[0], len(events)
    for name in _COLUMNS:
        group[name].resize((start + added,))
        group[name][start:] = getattr(events, name)
    return added
