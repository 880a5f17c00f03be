"""Box labels beside a recording: ``*_bbox.npy`` with class ids, or a file with class names.

``*_bbox.csv`` has a header line with ``t_us,x,y,w,h,class`` and perhaps ``track``, in any order:
time in microseconds, left, top, width, height in px of the sensor, name of the class; whatever
tells objects apart. Further columns are not read.

``*_bbox.json`` is COCO with times: ``images`` with ``id`` and ``timestamp_us`` (or ``t_us``),
``annotations`` with ``image_id``, ``bbox`` (left, top, width, height, px of the sensor),
``category_id`` and perhaps ``track_id``, ``categories`` with ``id`` and ``name``. Further keys are
not read.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.arrays import damage_reported
from eventcam.io.bbox import BBOX_DTYPE, LONGEST_US, NO_CLASS, read_bbox, usable

ENDINGS = ("_bbox.npy", "_bbox.csv", "_bbox.json")
_NUMBERS = ("t_us", "x", "y", "w", "h")
_COLUMNS = (*_NUMBERS, "class")
_TIMES = ("timestamp_us", "t_us")  # of an image
_LISTS = ("images", "annotations", "categories")
_FAR = 10.0 * LONGEST_US  # beyond any time and place, and still a number in every type


def read_labels(path: Path, raw_classes: Sequence[str]) -> tuple[np.ndarray, Counter[str]]:
    """Boxes of one recording, sorted by time.

    Args:
        path: ``*_bbox.npy`` (see :func:`eventcam.io.bbox.read_bbox`), ``.csv`` or ``.json``.
        raw_classes: names of the classes in such a file; the position becomes the class id. Boxes
            of others get an id that no class map knows.

    Returns:
        Structured array (``BBOX_DTYPE``) and what was dropped or reordered, by reason.

    Raises:
        EventDataError: the file is damaged, or lacks a column or list.
    """
    if path.suffix not in _READERS:
        return read_bbox(path)
    rows = _READERS[path.suffix](path)
    numbers = np.array([[_number(row[name]) for name in _NUMBERS] for row in rows])
    numbers = numbers.reshape(-1, len(_NUMBERS))
    readable = np.isfinite(numbers).all(axis=1)
    numbers = numbers.clip(-_FAR, _FAR)
    readable &= np.array([row["class"] != "" for row in rows], bool)
    labels = np.zeros(len(rows), BBOX_DTYPE)
    ids = {name: number for number, name in enumerate(raw_classes)}
    labels["class_id"] = [ids.get(row["class"], NO_CLASS) for row in rows]
    tracks = [str(row.get("track", "")) for row in rows]
    labels["track_id"] = np.unique(tracks, return_inverse=True)[1]
    labels["class_confidence"] = 1
    labels = labels[readable]
    labels["t"] = np.rint(numbers[readable, 0])
    for column, name in enumerate("xywh", start=1):
        labels[name] = numbers[readable, column]
    labels, counts = usable(labels)
    return labels, +(counts + Counter(boxes_unreadable=int(np.count_nonzero(~readable))))


def class_names(path: Path) -> list[str]:
    """Names of the classes of the boxes, sorted; none of ``.npy`` files, which have ids.

    Raises:
        EventDataError: see :func:`read_labels`.
    """
    rows = _READERS[path.suffix](path) if path.suffix in _READERS else ()
    return sorted({row["class"] for row in rows} - {""})


def require_known(path: Path, raw_classes: Sequence[str]) -> None:
    """Refuse a file with names that no class map takes or leaves out.

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


def _number(value: Any) -> float:
    try:
        return float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _csv_rows(path: Path) -> list[dict[str, Any]]:
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


def _coco_rows(path: Path) -> list[dict[str, Any]]:
    """The annotations of a COCO file as lines of a CSV file; None where something is unknown."""
    with damage_reported(path, "COCO labels"):
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    images, annotations, categories = (_entries(content, name, path) for name in _LISTS)
    if images and not any(key in one for one in images for key in _TIMES):
        raise EventDataError(
            f"{path} has {len(images)} images and none with a time. Each needs its microseconds in "
            f"the recording as {' or '.join(_TIMES)}."
        )
    times = {key: next((one[k] for k in _TIMES if k in one), None) for key, one in _by_id(images)}
    names = {key: str(one.get("name") or "").strip() for key, one in _by_id(categories)}
    return [
        {
            "t_us": times.get(str(one.get("image_id"))),
            **_box(one.get("bbox")),
            "class": names.get(str(one.get("category_id")), ""),
            "track": one.get("track_id", ""),
        }
        for one in annotations
    ]


def _entries(content: Any, name: str, path: Path) -> list[dict[str, Any]]:
    """One of the lists of a COCO file."""
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise EventDataError(
            f"{path} has no list of {name}; a COCO file has {', '.join(_LISTS)}, lists of objects. "
            "Export it again as COCO detection labels, and give its images times."
        )
    return found


def _by_id(entries: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries with their ids; without those whose id is that of another, too."""
    often = Counter(str(one.get("id")) for one in entries)
    return ((str(one["id"]), one) for one in entries if "id" in one and often[str(one["id"])] == 1)


def _box(values: Any) -> dict[str, Any]:
    is_box = isinstance(values, list) and len(values) == len("xywh")
    return dict(zip("xywh", values if is_box else [None] * 4, strict=True))


_READERS = {".csv": _csv_rows, ".json": _coco_rows}
