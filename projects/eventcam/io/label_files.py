"""Box labels beside a recording: ``*_bbox.npy`` with class ids, or ``*_bbox.csv`` with names.

A CSV file has a header line with ``t_us,x,y,w,h,class`` and perhaps ``track``, in any order: time
in microseconds, left, top, width, height in px of the sensor, name of the class; whatever tells
objects apart. Further columns are not read.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.arrays import damage_reported
from eventcam.io.bbox import BBOX_DTYPE, LONGEST_US, NO_CLASS, read_bbox, usable

ENDINGS = ("_bbox.npy", "_bbox.csv")
_NUMBERS = ("t_us", "x", "y", "w", "h")
_COLUMNS = (*_NUMBERS, "class")
_FAR = 10.0 * LONGEST_US  # beyond any time and place, and still a number in every type


def read_labels(path: Path, raw_classes: Sequence[str]) -> tuple[np.ndarray, Counter[str]]:
    """Boxes of one recording, sorted by time.

    Args:
        path: ``*_bbox.npy`` (see :func:`eventcam.io.bbox.read_bbox`) or ``*_bbox.csv``.
        raw_classes: names of the classes in a CSV file; the position becomes the class id. Boxes of
            others get an id that no class map knows.

    Returns:
        Structured array (``BBOX_DTYPE``) and what was dropped or reordered, by reason.

    Raises:
        EventDataError: the file is damaged, or lacks a column.
    """
    if path.suffix != ".csv":
        return read_bbox(path)
    rows = _read_rows(path)
    numbers = np.array([[_number(row[name]) for name in _NUMBERS] for row in rows])
    numbers = numbers.reshape(-1, len(_NUMBERS)).clip(-_FAR, _FAR)
    readable = np.isfinite(numbers).all(axis=1)
    readable &= np.array([row["class"] != "" for row in rows], bool)
    labels = np.zeros(len(rows), BBOX_DTYPE)
    ids = {name: number for number, name in enumerate(raw_classes)}
    labels["class_id"] = [ids.get(row["class"], NO_CLASS) for row in rows]
    labels["track_id"] = np.unique([row.get("track") or "" for row in rows], return_inverse=True)[1]
    labels["class_confidence"] = 1
    labels = labels[readable]
    labels["t"] = np.rint(numbers[readable, 0])
    for column, name in enumerate("xywh", start=1):
        labels[name] = numbers[readable, column]
    labels, counts = usable(labels)
    return labels, +(counts + Counter(boxes_unreadable=int(np.count_nonzero(~readable))))


def class_names(path: Path) -> list[str]:
    """Names of the classes in a CSV file, sorted; none of other files, which have ids.

    Raises:
        EventDataError: see :func:`read_labels`.
    """
    rows = _read_rows(path) if path.suffix == ".csv" else ()
    return sorted({row["class"] for row in rows} - {""})


def require_known(path: Path, raw_classes: Sequence[str]) -> None:
    """Refuse a CSV file with names that no class map takes or leaves out.

    Raises:
        EventDataError: the text says the nearest of ``raw_classes``.
    """
    unknown = [name for name in class_names(path) if name not in raw_classes]
    if not unknown:
        return
    name = unknown[0]
    near = get_close_matches(name, raw_classes, 1, 0.5)
    others = f" and {len(unknown) - 1} other unknown ones" if unknown[1:] else ""
    raise EventDataError(
        f"{path.name} has the class {name!r}{others}; the class map takes "
        f"{', '.join(raw_classes)}.{f' Is {near[0]} meant?' if near else ''} Correct the file, or "
        f"the class map: bike={name} makes such boxes bikes, ={name} leaves them out."
    )


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file by column; None where a line is too short."""
    with (
        damage_reported(path, "a table of boxes"),
        path.open(newline="", encoding="utf-8-sig") as stream,
    ):
        reader = csv.DictReader(stream, skipinitialspace=True)
        found = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        rows = list(reader)
    lacking = [name for name in _COLUMNS if name not in found]
    if lacking:
        raise EventDataError(
            f"{path} has the columns {', '.join(found) or 'of no name'}; missing are "
            f"{', '.join(lacking)}. Its first line has to name them: {','.join(_COLUMNS)} and "
            "perhaps track, with commas between."
        )
    for row in rows:
        row["class"] = (row["class"] or "").strip()
    return rows
