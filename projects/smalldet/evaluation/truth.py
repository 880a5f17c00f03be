"""The ground truth of one split, read from its COCO file and checked."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CocoTruth:
    """Ground truth by image.

    Class k is the k-th category of the file sorted by id, as Detectron2 counts them. Every image
    of the file has an entry in ``annotations``, in the file's order. Each annotation holds ``id``
    (from 1), ``image_id``, ``category_id``, ``bbox`` (left, top, width, height), ``area``
    and ``iscrowd``, all in pixels of the original image.
    """

    path: Path
    sha256: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    annotations: dict[int, list[dict[str, Any]]]

    def class_index(self, category_id: int) -> int:
        """Class k of a category id of the file."""
        return self.category_ids.index(category_id)


def load_truth(path: Path, classes: Sequence[str]) -> CocoTruth:
    """Read the COCO annotation file at ``path``.

    Args:
        path: A COCO file with ``images``, ``annotations`` and ``categories``.
        classes: The names of the data set's classes, in the order of the category ids.

    Raises:
        ValueError: the file is not a COCO file, or its categories are not ``classes``.
    """
    content = Path(path).read_bytes()
    data = json.loads(content)
    missing = [key for key in ("images", "annotations", "categories") if key not in data]
    if missing:
        raise ValueError(
            f"{path} has no {', '.join(missing)}; a COCO annotation file with images, annotations "
            "and categories is expected. Evaluation needs the ground truth."
        )
    categories = sorted(data["categories"], key=lambda category: category["id"])
    names = tuple(category["name"] for category in categories)
    if names != tuple(classes):
        raise ValueError(
            f"{path} lists the classes {list(names)}, but the data set declares {list(classes)}. "
            "Predictions would be scored as the wrong class: name the same classes in the order "
            "of the file's category ids, or rebuild the filtered file."
        )
    return CocoTruth(
        path=Path(path),
        sha256=hashlib.sha256(content).hexdigest(),
        classes=names,
        category_ids=tuple(category["id"] for category in categories),
        annotations=_by_image(data, path),
    )


def _by_image(data: dict[str, Any], path: Path) -> dict[int, list[dict[str, Any]]]:
    """Annotations by image id; those of unknown images or categories are counted and left out."""
    category_ids = {category["id"] for category in data["categories"]}
    images: dict[int, list[dict[str, Any]]] = {int(image["id"]): [] for image in data["images"]}
    strays = 0
    # Ids are given anew: exports count from 0, which the COCO code reads as "not matched".
    for number, annotation in enumerate(data["annotations"], start=1):
        image_id = int(annotation["image_id"])
        if image_id in images and annotation["category_id"] in category_ids:
            images[image_id].append(_normalised(annotation, number))
        else:
            strays += 1
    if strays:
        logger.warning(
            "%s: %d annotations belong to no listed image or category and are not evaluated.",
            path,
            strays,
        )
    return images


def _normalised(annotation: dict[str, Any], number: int) -> dict[str, Any]:
    """What evaluation needs of one annotation; a missing area is the box's width times height."""
    box = [float(value) for value in annotation["bbox"]]
    return {
        "id": number,
        "image_id": int(annotation["image_id"]),
        "category_id": annotation["category_id"],
        "bbox": box,
        "area": float(annotation.get("area", box[2] * box[3])),
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }
