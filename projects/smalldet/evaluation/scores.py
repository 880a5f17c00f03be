"""COCO's average precision and recall of boxes, computed by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from smalldet.evaluation.truth import CocoTruth

Scores = dict[str, float | None]

AREA_RANGES = {
    "all": (0, 1e5**2),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e5**2),
}
"""Square pixels of the original image. A ground-truth box counts with its annotated ``area``, an
unmatched prediction with width times height."""

MAX_DETECTIONS: tuple[int, ...] = (1, 10, 100)
"""Predictions kept per image and class, best first. AP keeps the last of these."""


def bbox_scores(
    truth: CocoTruth, predictions: Sequence[dict[str, Any]], image_ids: Collection[int]
) -> Scores:
    """Average precision and recall in percent of ``predictions`` on ``image_ids``.

    Keys: ``AP`` (mean over IoU 0.50:0.05:0.95), ``AP50``, ``AP75``, ``APs``, ``APm``, ``APl``
    (see :data:`AREA_RANGES`), ``AR@1``, ``AR@10``, ``AR@100`` (recall averaged over the same
    thresholds, keeping so many predictions per image and class), ``ARs``, ``ARm``, ``ARl`` (at
    100), and ``AP-<class>`` for each class. The definitions are those of Lin et al., Microsoft
    COCO, 2014, arXiv 1405.0312, with 101 recall points.

    Args:
        truth: The ground truth.
        predictions: Entries of COCO's results format: ``image_id``, ``category_id``, ``bbox``
            (left, top, width, height in pixels of the original image) and ``score``.
        image_ids: The images that were shown to the model; the others do not count.

    Returns:
        Every key, always. 0.0 where ground truth exists and nothing was found; None where there
        is no ground truth to find, which is also left out of the means over classes.
    """
    precision, recall = _accumulate(truth, predictions, image_ids)
    scores: Scores = {
        "AP": _percent(precision[:, :, :, 0, -1]),
        "AP50": _percent(precision[0, :, :, 0, -1]),
        "AP75": _percent(precision[5, :, :, 0, -1]),
    }
    bins = {name[0]: index for index, name in enumerate(AREA_RANGES) if name != "all"}
    scores |= {f"AP{bin}": _percent(precision[:, :, :, a, -1]) for bin, a in bins.items()}
    scores |= {f"AR@{n}": _percent(recall[:, :, 0, m]) for m, n in enumerate(MAX_DETECTIONS)}
    scores |= {f"AR{bin}": _percent(recall[:, :, a, -1]) for bin, a in bins.items()}
    for k, name in enumerate(truth.classes):
        scores[f"AP-{name}"] = _percent(precision[:, :, k, 0, -1])
    return scores


def _accumulate(
    truth: CocoTruth, predictions: Sequence[dict[str, Any]], image_ids: Collection[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision (10 IoUs, 101 recalls, classes, areas, limits) and recall (without recalls).

    Entries are -1 where there is no ground truth.
    """
    wanted = sorted(image_ids)
    shared = {
        "images": [{"id": image_id} for image_id in wanted],
        "categories": [{"id": number} for number in truth.category_ids],
    }
    annotations = [dict(a) for image_id in wanted for a in truth.annotations[image_id]]
    detections = [_detection(p, number) for number, p in enumerate(predictions, start=1)]
    evaluation = COCOeval_faster(
        COCO({**shared, "annotations": annotations}),
        COCO({**shared, "annotations": detections}),
        iouType="bbox",
        print_function=lambda *_: None,
    )
    evaluation.params.areaRng = [list(limits) for limits in AREA_RANGES.values()]
    evaluation.params.areaRngLbl = list(AREA_RANGES)
    evaluation.params.maxDets = list(MAX_DETECTIONS)
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def _detection(prediction: dict[str, Any], number: int) -> dict[str, Any]:
    """A prediction with the fields that the COCO code adds to a results file on loading."""
    _, _, width, height = prediction["bbox"]
    return {**prediction, "id": number, "area": width * height, "iscrowd": 0}


def _percent(values: NDArray[np.float64]) -> float | None:
    """Mean of the entries that have ground truth, in percent."""
    valid = values[values > -1]
    return 100 * float(valid.mean()) if valid.size else None
