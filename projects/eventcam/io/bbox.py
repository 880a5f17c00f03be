"""Reading box labels (``*_bbox.npy``) in both spellings of their fields."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.arrays import as_indices, load_array

# The published layout of one box: t in us; x, y the top-left corner, w, h the size, in px of the
# full sensor (40 bytes with the gap at the end).
BBOX_DTYPE = np.dtype(
    {
        "names": ["t", "x", "y", "w", "h", "class_id", "track_id", "class_confidence"],
        "formats": ["<i8", "<f4", "<f4", "<f4", "<f4", "<u4", "<u4", "<f4"],
        "offsets": [0, 8, 12, 16, 20, 24, 28, 32],
        "itemsize": 40,
    }
)
_OLDER_NAMES = {"t": "ts", "class_confidence": "confidence"}
_OPTIONAL = {"track_id": 0, "class_confidence": 1.0}
LONGEST_US = 24 * 3600 * 1_000_000  # a label later than a day is no time in microseconds
NO_CLASS = np.iinfo(np.uint32).max  # stands for ids that do not fit; no class map knows it


def read_bbox(path: Path) -> tuple[np.ndarray, Counter[str]]:
    """Boxes of one recording, sorted by time.

    Fields may be spelt ``t``/``class_confidence`` or, in older files, ``ts``/``confidence``.
    Boxes without a finite position, or with a negative time or one later than a day, are dropped.

    Returns:
        Structured array (``BBOX_DTYPE``) and what was dropped or reordered, by reason.

    Raises:
        EventDataError: the file is no structured array of boxes.
    """
    raw = load_array(path, "an array of boxes")
    return usable(in_published_fields(raw, path))


def in_published_fields(raw: np.ndarray, path: Path) -> np.ndarray:
    """Boxes read from ``path`` as ``BBOX_DTYPE``, whichever way their fields are spelt.

    Raises:
        EventDataError: a field is missing, or is not one number for each box.
    """
    raw, found = np.atleast_1d(raw), raw.dtype.names or ()
    labels = np.zeros(len(raw), BBOX_DTYPE)
    for name in BBOX_DTYPE.names or ():
        source = name if name in found else _OLDER_NAMES.get(name, name)
        if source in found:
            values = _numbers(raw, source, path)
            with np.errstate(invalid="ignore", over="ignore"):  # no time, and not finite, then
                labels[name] = _ids(values) if name.endswith("_id") else values
        elif name in _OPTIONAL:
            labels[name] = _OPTIONAL[name]
        else:
            raise EventDataError(
                f"{path} has the fields {list(found)}; the field {name} (or its older spelling) "
                f"is missing. Expected is a structured array with {list(BBOX_DTYPE.names or ())}."
            )
    return labels


def split_by_frame(labels: np.ndarray, starts: np.ndarray, path: Path) -> list[np.ndarray]:
    """The boxes of each frame, read from ``path``; those of the first begin at ``starts`` = 0.

    Raises:
        EventDataError: a box has no place, or ``starts`` does not go through the boxes.
    """
    edges = np.append(as_indices(starts, path), len(labels))
    has_place = all(np.isfinite(labels[name]).all() for name in "xywh")
    if edges[0] != 0 or (np.diff(edges) < 0).any() or not has_place:
        raise EventDataError(
            f"{path} holds boxes that are not finite or do not belong to its {len(starts)} frames. "
            "Remove the folder and prepare the recording again."
        )
    return np.split(labels, edges[1:-1])[: len(starts)]


def without_gaps(labels: np.ndarray) -> np.ndarray:
    """A copy whose unused bytes are zero, so that equal boxes make equal files."""
    clean = np.zeros(len(labels), BBOX_DTYPE)
    for name in BBOX_DTYPE.names or ():
        clean[name] = labels[name]
    return clean


def _numbers(raw: np.ndarray, field: str, path: Path) -> np.ndarray:
    """A field (n,) of boxes that were read from ``path``."""
    values = raw[field]
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise EventDataError(
            f"{path} has the field {field} as {raw.dtype[field]} of shape {raw.shape}; expected is "
            "one number for each box, in one dimension. Write the boxes again so."
        )
    return values


def _ids(values: np.ndarray) -> np.ndarray:
    """Ids as unsigned numbers; those that do not fit must not wrap around to valid ones."""
    fits = (values >= 0) & (values < NO_CLASS)
    return np.where(fits, values, NO_CLASS).astype(np.uint32)


def usable(labels: np.ndarray) -> tuple[np.ndarray, Counter[str]]:
    """The boxes (``BBOX_DTYPE``) that have a place and a time, by time; see :func:`read_bbox`."""
    counts: Counter[str] = Counter()
    finite = np.all([np.isfinite(labels[name]) for name in "xywh"], axis=0)
    counts["boxes_not_finite"] = int(np.count_nonzero(~finite))
    in_time = (labels["t"] >= 0) & (labels["t"] <= LONGEST_US)
    counts["boxes_impossible_time"] = int(np.count_nonzero(finite & ~in_time))
    labels = labels[finite & in_time]
    counts["boxes_out_of_order"] = int(np.count_nonzero(np.diff(labels["t"]) < 0))
    if counts["boxes_out_of_order"]:
        labels = labels[np.argsort(labels["t"], kind="stable")]
    return labels, +counts
