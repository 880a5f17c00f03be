"""COCO scores of 2,000 generated images: pycocotools against the evaluator that runs use."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from faster_coco_eval import COCO as FasterCOCO
from faster_coco_eval import COCOeval_faster
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.measure import Candidate, Row, compare

IMAGES, DETECTIONS, OBJECTS, SIDE = 2000, 100, 8, 640
Entries = list[dict[str, Any]]


def rows() -> Iterator[Row]:
    """Evaluate and accumulate with 8 classes and with 1; the scores must be equal."""
    for classes, required in ((8, 6.0), (1, 10.0)):
        truth, found = generated(classes)
        reference = prepared(COCO, COCOeval, truth, found)
        candidate = prepared(FasterCOCO, COCOeval_faster, truth, found)
        theirs, ours = reference(), candidate()
        if not np.allclose(theirs, ours, rtol=0, atol=1e-9):
            raise AssertionError(f"pycocotools scores {theirs}, the project {ours}")
        name = f"COCO evaluation, {classes} classes" if classes > 1 else "COCO evaluation, 1 class"
        yield from compare(reference, {name: Candidate(candidate, required)}, rounds=3)


def generated(
    classes: int, images: int = IMAGES, detections: int = DETECTIONS
) -> tuple[dict[str, Any], Entries]:
    """COCO ground truth, and predictions, each near an object.

    Args:
        classes: of objects; they do not depend on the number of detections.
        images: with 8 objects each.
        detections: of an image.
    """
    objects, aims = np.random.default_rng(classes).spawn(2)
    truth: Entries = []
    found: Entries = []
    for image in range(1, images + 1):
        sizes = np.exp(objects.uniform(np.log(8), np.log(160), (OBJECTS, 2)))
        boxes = np.hstack([objects.uniform(0, SIDE - sizes), sizes])
        labels = objects.integers(1, classes + 1, OBJECTS)
        truth += entries(image, boxes, labels)
        aimed = aims.integers(0, OBJECTS, detections)
        moved = boxes[aimed] + aims.normal(0, 0.15, (detections, 4)) * np.tile(sizes[aimed], 2)
        moved[:, 2:] = moved[:, 2:].clip(1)
        near, scores = entries(image, moved, labels[aimed]), aims.random(detections).tolist()
        found += [{**entry, "score": s} for entry, s in zip(near, scores, strict=True)]
    shared = {
        "images": [{"id": i, "width": SIDE, "height": SIDE} for i in range(1, images + 1)],
        "categories": [{"id": k, "name": str(k)} for k in range(1, classes + 1)],
    }
    return {**shared, "annotations": numbered(truth)}, numbered(found)


def entries(image: int, boxes: np.ndarray, labels: np.ndarray) -> Entries:
    """COCO annotations of one image; ``boxes`` (n, 4) are left, top, width, height in px."""
    return [
        {
            "image_id": image,
            "category_id": label,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True)
    ]


def numbered(found: Entries) -> Entries:
    return [{**entry, "id": number} for number, entry in enumerate(found, start=1)]


def prepared(index: Any, evaluator: Any, truth: dict[str, Any], found: Entries):
    """A call that evaluates and accumulates; reading the input is not part of it."""
    with contextlib.redirect_stdout(io.StringIO()):
        sides = index(), index()
        for side, annotations in zip(sides, (truth["annotations"], found), strict=True):
            side.dataset = {**truth, "annotations": annotations}
            side.createIndex()

    def run() -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = evaluator(*sides, iouType="bbox")
            evaluation.evaluate()
            evaluation.accumulate()
        return np.asarray(evaluation.eval["precision"])

    return run
