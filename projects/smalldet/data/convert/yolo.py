"""YOLO's layout: ``data.yaml`` with names, ``images/train`` and ``labels/train``, or turned round.

A label file has a line for each object: class number, then centre, width and height as shares of
the image, or the corners of a polygon, whose bounding box is taken. A confidence behind the box is
not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from globox import BoundingBox, ParsingError

from smalldet.data.convert.found import SPLITS, Box, Found, LabelledImage
from smalldet.data.errors import DataError
from smalldet.data.files import list_images
from smalldet.data.filter.report import FINDINGS
from smalldet.data.images import check_image

LAYOUT = "data.yaml and images/{train,val,test} with labels/{train,val,test}, or {train,...}/images"
IMAGES = "images"


def read_yolo(root: Path) -> Found:
    """All splits below ``root``; an image with an empty label file, or without one, has no object.

    Raises:
        DataError: there are no class names, no images, or two folders for one split.
    """
    found = Found(class_names(root))
    for split, names in SPLITS.items():
        places = [place for name in names for place in ((IMAGES, name), (name, IMAGES))]
        there = [place for place in places if root.joinpath(*place).is_dir()]
        if len(there) > 1:
            both = " and ".join("/".join(place) for place in there)
            raise DataError(f"{root} has {split} images in {both}. Keep one of the folders there.")
        for place in there:
            labels = ["labels" if part == IMAGES else part for part in place]
            _read_split(found, split, root.joinpath(*place), root.joinpath(*labels))
    if not found.splits:
        raise DataError(f"{root} holds no images in folders of YOLO's layout: {LAYOUT}.")
    return found


def class_names(root: Path) -> tuple[str, ...]:
    """The ``names`` of ``data.yaml``, or of the one YAML file there is.

    Raises:
        DataError: there is none, or it has no names for the classes 0, 1, ...
    """
    files = [root / "data.yaml"] if (root / "data.yaml").is_file() else sorted(root.glob("*.y*ml"))
    if len(files) != 1:
        there = ", ".join(path.name for path in files) or "no YAML file"
        raise DataError(f"{root} has {there}; expected is one data.yaml with the names of classes.")
    try:
        content = yaml.safe_load(files[0].read_text(encoding="utf-8"))
        names = content["names"]
        ordered = [names[i] for i in range(len(names))] if isinstance(names, Mapping) else names
        classes = tuple(str(name) for name in ordered)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f"{files[0]} has no readable names ({type(error).__name__}: {error}). Expected is "
            "`names: [person, bike]`, or the names by number from 0 on."
        ) from error
    if not classes or isinstance(names, str) or len(set(classes)) < len(classes):
        raise DataError(f"{files[0]} has the names {names!r}; expected are different ones, listed.")
    return classes


def _read_split(found: Found, split: str, images: Path, labels: Path) -> None:
    listed = list_images(images)
    stems = {Path(name).with_suffix("") for name in listed}
    for path in sorted(labels.rglob("*.txt")):
        if path.relative_to(labels).with_suffix("") not in stems:
            found.note(split, "label files without an image (left out)", path)
    for name in listed:
        size = check_image(images / name)
        if isinstance(size, str):
            found.note(split, FINDINGS[size], images / name)
            continue
        path = labels / Path(name).with_suffix(".txt")
        boxes = list(_read_boxes(found, split, path, size))
        image = LabelledImage(images / name, name, size, boxes)
        found.splits.setdefault(split, []).append(image)


def _read_boxes(found: Found, split: str, path: Path, size: tuple[int, int]) -> Iterator[Box]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        found.note(split, "images without a label file (taken for empty ones)", path)
        return
    except UnicodeDecodeError:
        found.note(split, "label files that are no text (the images are taken for empty)", path)
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        box = _parsed(line, size)
        if box is None:
            found.note(split, "lines that are no box (left out)", where)
        elif not 0 <= (kind := int(box.label)) < len(found.classes):
            what = f"boxes of class {kind}, of {len(found.classes)} with a name (left out)"
            found.note(split, what, where)
        else:
            yield box._replace(label=found.classes[kind])


def _parsed(line: str, size: tuple[int, int]) -> Box | None:
    """The box of a line, its class number as text; None if it is none."""
    is_polygon = len(line.split()) > 6
    parse = BoundingBox.from_yolo_seg if is_polygon else BoundingBox.from_yolo_v5
    try:
        box = parse(line, image_size=size)
        number = float(box.label)
    except (ParsingError, ValueError, AssertionError):
        return None
    sizes = box.ltwh
    if not number.is_integer() or not all(map(math.isfinite, sizes)) or min(sizes[2:]) <= 0:
        return None
    return Box(str(int(number)), *sizes)
