"""The ground truth of a registered split."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.structures import BoxMode

from boxmetrics.boxes import xywh_to_xyxy
from smalldet.data.catalog import records_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CocoTruth:
    """Ground truth by image.

    Class k is the k-th category by id, as Detectron2 counts them. Every image of the split has an
    entry in ``annotations``, in the split's order. Each annotation holds ``id`` (from 1),
    ``image_id``, ``category_id``, ``bbox`` (left, top, width, height), ``area`` and ``iscrowd``,
    all in pixels of the original image.
    """

    name: str
    split: str
    path: Path
    sha256: str | None
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    annotations: dict[int, list[dict[str, Any]]]

    def of_image(self, image_id: int) -> dict[str, Any]:
        """``image_id`` and the ``gt_`` fields of :class:`boxmetrics.matches.ImageBoxes`."""
        annotations = self.annotations[image_id]
        return {
            "image_id": image_id,
            "gt_boxes": xywh_to_xyxy([a["bbox"] for a in annotations]),
            "gt_classes": [self.category_ids.index(a["category_id"]) for a in annotations],
            "gt_areas": [a["area"] for a in annotations],
            "gt_crowd": [a["iscrowd"] for a in annotations],
        }


def truth_of(name: str) -> CocoTruth:
    """The ground truth of the images that are registered as ``name``.

    Detectron2's own reader of COCO files leaves out the area of an object unless it is asked for
    it (``extra_annotation_keys=["area"]``); the box's then counts, and a warning says so.

    Raises:
        DataError: nothing is registered as ``name``.
    """
    records, metadata = records_of(name), MetadataCatalog.get(name)
    ids = metadata.thing_dataset_id_to_contiguous_id
    category_ids = tuple(sorted(ids, key=ids.get))
    # Annotation ids count from 1: the COCO code reads 0 as "not matched".
    numbers, without_area = count(1), 0
    annotations: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        found = annotations.setdefault(int(record["image_id"]), [])
        for entry in record.get("annotations", ()):
            without_area += "area" not in entry
            found.append(_annotation(entry, next(numbers), record["image_id"], category_ids))
    if without_area:
        logger.warning(
            "%s: %d objects have no area; that of their box decides about their size.",
            name,
            without_area,
        )
    return CocoTruth(
        name=name,
        split=metadata.get("split", name),
        path=Path(metadata.get("json_file", name)),
        sha256=metadata.get("annotation_sha256"),
        classes=tuple(metadata.thing_classes),
        category_ids=category_ids,
        annotations=annotations,
    )


def _annotation(
    entry: dict[str, Any], number: int, image_id: int, category_ids: tuple[int, ...]
) -> dict[str, Any]:
    box = BoxMode.convert(list(map(float, entry["bbox"])), entry["bbox_mode"], BoxMode.XYWH_ABS)
    return {
        "id": number,
        "image_id": int(image_id),
        "category_id": category_ids[entry["category_id"]],
        "bbox": box,
        "area": float(entry.get("area", box[2] * box[3])),
        "iscrowd": int(entry.get("iscrowd", 0)),
    }
