"""Random boxes made to hurt, and the verdicts of pycocotools and faster-coco-eval on them."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from faster_coco_eval import COCO as FastCOCO
from faster_coco_eval import COCOeval_faster
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from boxmetrics.boxes import xyxy_to_xywh
from boxmetrics.matches import ImageBoxes
from boxmetrics.tables import BoxTable, Frame

SIZE = 400
LIMITS = [1, 10, 100, 300]


def random_image(rng: np.random.Generator, image_id: int, classes: int) -> ImageBoxes:
    """Boxes tiny and huge, crowds, areas unlike the box, tied scores; often nothing at all."""
    known = int(rng.choice([0, 1, 3, 12]))
    gt = _random_boxes(rng, known)
    found = int(rng.choice([0, 2, 15, 350], p=[0.2, 0.3, 0.4, 0.1]))
    boxes = _random_boxes(rng, found)
    labels, truth = rng.integers(classes, size=found), rng.integers(classes, size=known)
    for row in np.flatnonzero(rng.random(found) < 0.7) if known else ():
        g = rng.integers(known)
        side = np.tile(gt[g, 2:] - gt[g, :2], 2)
        boxes[row] = gt[g] + rng.choice([0, 0.02, 0.1, 0.3]) * side * rng.uniform(-0.5, 0.5, 4)
        labels[row] = truth[g]
    steps = int(rng.choice([3, 10, 10**6]))
    return ImageBoxes(
        image_id=image_id,
        boxes=boxes,
        scores=rng.integers(0, steps, found) / steps,
        classes=labels,
        gt_boxes=gt,
        gt_classes=truth,
        gt_areas=xyxy_to_xywh(gt)[:, 2:].prod(axis=1) * rng.choice([1.0, 1.0, 0.7], known),
        gt_crowd=rng.random(known) < 0.15,
    )


def scene(dets: Any, gts: Any, image_id: int = 0, crowd: Any = (), areas: Any = None) -> ImageBoxes:
    """Predictions (box, score, class) and ground truth (box, class), some rows crowd regions."""
    return ImageBoxes(
        image_id=image_id,
        boxes=[box for box, _, _ in dets],
        scores=[score for _, score, _ in dets],
        classes=[k for _, _, k in dets],
        gt_boxes=[box for box, _ in gts],
        gt_classes=[k for _, k in gts],
        gt_areas=areas or [(x1 - x0) * (y1 - y0) for (x0, y0, x1, y1), _ in gts],
        gt_crowd=[n in crowd for n in range(len(gts))],
    )


def image(image_id: int, boxes=(), scores=(), gt=(), classes=None, gt_classes=None) -> ImageBoxes:
    """The same from columns; without classes, all are of class 0."""
    found = zip(boxes, scores, [0] * len(boxes) if classes is None else classes, strict=True)
    truth = zip(gt, [0] * len(gt) if gt_classes is None else gt_classes, strict=True)
    return scene([*found], [*truth], image_id)


def random_frames(rng: np.random.Generator, count: int, classes: int) -> list[Frame]:
    """Frames of two recordings; the confidence in the class ranks unlike the score."""
    images = [random_image(rng, n, classes) for n in range(count)]
    times = rng.integers(0, 2_000_000, count)
    return [
        Frame(image, f"night_{n % 2}", int(times[n]), rng.random(len(np.asarray(image.scores))))
        for n, image in enumerate(images)
    ]


def coco_curves(
    table: BoxTable, classes: int, ranges: Any, use_classes: bool = True, fast: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Precision (T, R, K, A) at 100 detections and recall (T, K, A, M); NaN for undefined."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = (_load(dataset, fast) for dataset in _datasets(table, classes))
        evaluation = (COCOeval_faster if fast else COCOeval)(truth, found, "bbox")
        params = evaluation.params
        params.areaRng, params.areaRngLbl = np.asarray(ranges).tolist(), list("asml")
        params.useCats, params.maxDets = int(use_classes), LIMITS
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (np.array(evaluation.eval[name]) for name in ("precision", "recall"))
    precision[precision < 0] = recall[recall < 0] = np.nan
    return precision[..., LIMITS.index(100)], recall


def _random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    sides = rng.choice([1.5, 8, 30, 32, 96, 200], count)[:, None] * rng.uniform(
        0.8, 1.2, (count, 2)
    )
    corner = rng.uniform(0, SIZE - sides)
    return np.round(np.concatenate([corner, corner + sides], axis=1), 2)


def _datasets(table: BoxTable, classes: int) -> tuple[dict, dict]:
    """Ground truth and predictions of the table as COCO data sets; ids count from 1."""
    shared = {
        "images": [{"id": row} for row in range(len(table.image_ids))],
        "categories": [{"id": k + 1} for k in range(classes)],
    }
    gt = _entries(table.gt_image, table.gt_class, table.gt_box)
    for entry, area, crowd in zip(gt, table.gt_area, table.gt_crowd, strict=True):
        entry |= {"area": float(area), "iscrowd": int(crowd)}
    det = _entries(table.det_image, table.det_class, table.det_box)
    for entry, score in zip(det, table.det_score, strict=True):
        entry |= {"area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0, "score": float(score)}
    return {**shared, "annotations": gt}, {**shared, "annotations": det}


def _entries(images: np.ndarray, classes: np.ndarray, boxes: np.ndarray) -> list[dict[str, Any]]:
    sides = xyxy_to_xywh(boxes).tolist()
    columns = zip(images.tolist(), classes.tolist(), sides, strict=True)
    return [
        {"id": number, "image_id": image, "category_id": k + 1, "bbox": box}
        for number, (image, k, box) in enumerate(columns, start=1)
    ]


def _load(dataset: dict, fast: bool) -> Any:
    if fast:
        return FastCOCO(dataset)
    loaded = COCO()
    loaded.dataset = dataset
    loaded.createIndex()
    return loaded
