"""What an evaluation leaves on disk, so that it can be studied without the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boxmetrics.boxes import xywh_to_xyxy, xyxy_to_xywh
from boxmetrics.matches import ImageBoxes, match_images
from boxmetrics.matching import COCO_THRESHOLDS, by_score
from runfolder.files import replacing, write_text
from runfolder.names import EVALUATION_FACTS, MATCHES, PREDICTIONS
from smalldet.evaluation.scores import AREA_RANGES, MAX_DETECTIONS, Scores
from smalldet.evaluation.truth import CocoTruth


@dataclass(frozen=True)
class Predictions:
    """Predictions of one image.

    ``boxes`` (D, 4) are ``xyxy_abs`` in pixels of the original image; ``scores`` (D,); ``classes``
    (D,) count from 0.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: NDArray[Any]) -> Predictions:
        """The predictions at ``rows`` (a mask or indices)."""
        return Predictions(self.boxes[rows], self.scores[rows], self.classes[rows])

    def is_valid(self) -> NDArray[np.bool_]:
        """Which predictions (D,) have a finite score and a finite box with right >= left."""
        finite = np.isfinite(self.boxes).all(axis=1) & np.isfinite(self.scores)
        return finite & (self.boxes[:, 2:] >= self.boxes[:, :2]).all(axis=1)


def coco_results(predictions: dict[int, Predictions], truth: CocoTruth) -> list[dict[str, Any]]:
    """``predictions`` by image id in COCO's results format, each image's from high to low score.

    Boxes become left, top, width, height; classes become the category ids of the file.
    """
    results = []
    for image_id, found in predictions.items():
        ordered = found.select(by_score(found.scores))
        boxes = xyxy_to_xywh(ordered.boxes).tolist()
        for box, score, k in zip(boxes, ordered.scores.tolist(), ordered.classes, strict=True):
            category_id = truth.category_ids[k]
            results.append(
                {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score}
            )
    return results


def write_outputs(
    folder: Path,
    truth: CocoTruth,
    predictions: dict[int, Predictions],
    results: list[dict[str, Any]],
    scores: Scores,
) -> None:
    """Write ``predictions.json``, ``matches.npz`` and ``evaluation.json`` into ``folder``.

    ``matches.npz`` holds all predictions matched over the whole range of sizes. Scores by size
    need ``predictions.json``: there COCO matches anew, with boxes of other sizes set aside.
    Each file appears complete or not at all.
    """
    write_json(folder / PREDICTIONS, results)
    matches = match_images(_image_boxes(image_id, p, truth) for image_id, p in predictions.items())
    with replacing(folder / MATCHES) as partial:
        matches.save(partial)
    write_json(folder / EVALUATION_FACTS, _description(truth) | {"results": scores}, 2)


def _image_boxes(image_id: int, predictions: Predictions, truth: CocoTruth) -> ImageBoxes:
    """Predictions and ground truth of one image as boxmetrics takes them."""
    annotations = truth.annotations[image_id]
    return ImageBoxes(
        image_id=image_id,
        boxes=predictions.boxes,
        scores=predictions.scores,
        classes=predictions.classes,
        gt_boxes=xywh_to_xyxy([a["bbox"] for a in annotations]),
        gt_classes=[truth.class_index(a["category_id"]) for a in annotations],
        gt_areas=[a["area"] for a in annotations],
        gt_crowd=[a["iscrowd"] for a in annotations],
    )


def _description(truth: CocoTruth) -> dict[str, Any]:
    """By which rules, with which program and on which file the scores were computed."""
    return {
        "protocol": "coco",
        "evaluator": f"faster-coco-eval {version('faster-coco-eval')}",
        "split": truth.split,
        "annotation_file": truth.path.name,
        "annotation_sha256": truth.sha256,
        "images_in_file": len(truth.annotations),
        "classes": list(truth.classes),
        "iou_thresholds": COCO_THRESHOLDS.round(2).tolist(),
        "max_detections": list(MAX_DETECTIONS),
        "areas": "annotated area, square pixels of the original image",
        "area_ranges": {name: list(limits) for name, limits in AREA_RANGES.items()},
    }


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write strict JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")
