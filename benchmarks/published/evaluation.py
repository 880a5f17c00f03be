"""The evaluation of event recordings as Prophesee's toolbox does it, by way of pycocotools.

Perot et al., Learning to Detect Objects with a 1 Megapixel Event Camera, 2020, arXiv 2009.13436:
boxes of each recording are filtered, those found near each labelled time become an image of a COCO
data set, and pycocotools scores that. RVT and eTraM call it at half resolution.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SKIP_US, TOLERANCE_US = 500_000, 50_000
MIN_DIAGONAL, MIN_SIDE = 30, 10  # at half resolution
HEIGHT, WIDTH = 360, 640
Boxes = np.ndarray  # structured, with t, x, y, w, h, class_id and class_confidence
Dataset = dict[str, Any]


def evaluate(
    truth: Sequence[Boxes], found: Sequence[Boxes], classes: Sequence[str], by_class: bool = True
) -> np.ndarray:
    """pycocotools' twelve numbers, 0 to 1.

    Args:
        truth: boxes of each recording, by time, in px at half resolution.
        found: likewise.
        classes: their names, by number.
        by_class: whether classes matter.
    """
    frames = []
    for labels, predictions in zip(truth, found, strict=True):
        frames += frames_of(filtered(labels), filtered(predictions))
    dataset, results = as_coco(frames, classes)
    with contextlib.redirect_stdout(io.StringIO()):
        index: Any = COCO()
        index.dataset = dataset
        index.createIndex()
        scores: Any = COCOeval(index, index.loadRes(results), "bbox")
        scores.params.imgIds = np.arange(1, len(frames) + 1, dtype=int)
        scores.params.useCats = int(by_class)
        scores.evaluate()
        scores.accumulate()
        scores.summarize()
    return scores.stats


def filtered(boxes: Boxes) -> Boxes:
    """Neither early nor small."""
    long = boxes["w"] ** 2 + boxes["h"] ** 2 >= MIN_DIAGONAL**2
    wide = (boxes["w"] >= MIN_SIDE) & (boxes["h"] >= MIN_SIDE)
    return boxes[(boxes["t"] > SKIP_US) & long & wide]


def frames_of(labels: Boxes, predictions: Boxes) -> list[tuple[Boxes, Boxes]]:
    """For each labelled time its boxes, and what was found about then."""
    frames = []
    for time in np.unique(labels["t"]):
        first = np.searchsorted(predictions["t"], time - TOLERANCE_US)
        last = np.searchsorted(predictions["t"], time + TOLERANCE_US, side="right")
        frames.append((labels[labels["t"] == time], predictions[first:last]))
    return frames


def as_coco(
    frames: Sequence[tuple[Boxes, Boxes]], classes: Sequence[str]
) -> tuple[Dataset, list[Dataset]]:
    """Frames as a COCO data set, and what was found as its results; ids count from 1."""
    images: list[Dataset] = []
    annotations: list[Dataset] = []
    results: list[Dataset] = []
    for number, (labels, predictions) in enumerate(frames, start=1):
        images.append({"id": number, "file_name": "", "height": HEIGHT, "width": WIDTH})
        for box in labels:
            entry = _entry(box, number)
            area = entry["bbox"][2] * entry["bbox"][3]
            annotations.append(
                {**entry, "id": len(annotations) + 1, "area": area, "iscrowd": False}
            )
        for box in predictions:
            results.append({**_entry(box, number), "score": float(box["class_confidence"])})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _entry(box: Any, image: int) -> Dataset:
    place = [float(box[name]) for name in "xywh"]
    return {"image_id": image, "bbox": place, "category_id": int(box["class_id"]) + 1}
