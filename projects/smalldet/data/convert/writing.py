"""A data set of another format to a new folder in our layout."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from smalldet.data.convert import voc, yolo
from smalldet.data.convert.found import SPLITS, Found, LabelledImage
from smalldet.data.errors import DataError
from smalldet.data.filter.cache import SOURCE_NAME


def convert(source: Path, target: Path, link: bool = False) -> str:
    """Write the data set ``source`` to the new folder ``target``; what was found, as text.

    Args:
        source: in YOLO's layout (see :mod:`.yolo`) or Pascal VOC's (see :mod:`.voc`); not changed.
        target: gets ``train``, ``valid`` and ``test``, as far as they are there, each with its
            images and annotations; whole or not at all.
        link: give the images a second name instead of copying them.

    Raises:
        DataError: ``source`` cannot be read or has no box, ``target`` is there and not empty, or
            the images cannot be linked.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(
            f"{target} is there already, and nothing in it is replaced. Name a new folder, or "
            "remove that one first."
        )
    found = read(source)
    if not any(image.boxes for images in found.splits.values() for image in images):
        reasons = "\n".join(["", *found.sentences()])
        raise DataError(f"No box was found in {source}, so nothing is written.{reasons}")
    partial = target.with_name(f".partial-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for split, images in found.splits.items():
            _write_split(partial / split, images, found.classes, link)
        if target.exists():
            target.rmdir()
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _report(found, target)


def read(source: Path) -> Found:
    """The data set in ``source``, whichever of the formats it has.

    Raises:
        DataError: it has none, or cannot be read.
    """
    if (source / voc.ANNOTATIONS).is_dir():
        return voc.read_voc(source)
    if any(source.glob("*.y*ml")):
        return yolo.read_yolo(source)
    raise DataError(
        f"{source} holds neither YOLO's layout ({yolo.LAYOUT}) nor Pascal VOC's "
        f"({voc.ANNOTATIONS}, {voc.IMAGES}, {voc.SETS}/train.txt ...). Name the folder that does."
    )


def _write_split(
    folder: Path, images: Sequence[LabelledImage], classes: Sequence[str], link: bool
) -> None:
    ids = {name: number for number, name in enumerate(classes, start=1)}
    content: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    for number, image in enumerate(images, start=1):
        _place(image.path, folder / image.name, link)
        width, height = image.size
        content["images"].append(
            {"id": number, "file_name": image.name, "width": width, "height": height}
        )
        for box in image.boxes:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": ids[box.label],
                    "bbox": [box.left, box.top, box.width, box.height],
                    "area": box.width * box.height,
                    "iscrowd": 0,
                    **({"ignore": 1} if box.ignored else {}),
                }
            )
    (folder / SOURCE_NAME).write_text(json.dumps(content), encoding="utf-8")


def _place(image: Path, path: Path, link: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not link:
        shutil.copy2(image, path)
        return
    try:
        os.link(image, path)
    except OSError as error:
        raise DataError(
            f"{image} cannot have a second name ({error.strerror}). Leave --link out: the images "
            "are then copied."
        ) from error


def _report(found: Found, target: Path) -> str:
    rows = [
        [
            split,
            len(images),
            sum(not image.boxes for image in images),
            sum(len(image.boxes) for image in images),
        ]
        for split, images in found.splits.items()
    ]
    missing = [split for split in SPLITS if split not in found.splits]
    lacks = f"There is no {' and no '.join(missing)}; training wants all three." if missing else ""
    check = "datasets/register_custom_coco.py --data-root"
    command = shlex.join([*check.split(), str(target), "--classes", *found.classes])
    lines = [
        tabulate(rows, ["split", "images", "of them empty", "boxes"], "plain"),
        *found.sentences(),
        lacks,
        f"{target} has the classes {', '.join(found.classes) or 'of no name'}. Check it: {command}",
    ]
    return "\n".join(filter(None, lines))
