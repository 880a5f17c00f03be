"""COCO's matching where boxes outside a range of sizes are set aside.

Shape shorthand: D predicted boxes, G ground-truth boxes, T IoU thresholds, A ranges of area.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxmetrics.boxes import Floats
from boxmetrics.matching import COCO_THRESHOLDS, UNMATCHED, Ints

AREA_RANGES: dict[str, tuple[float, float]] = {
    "all": (0, 1e5**2),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e5**2),
}
"""COCO's, in square pixels. A box on a limit belongs to both ranges."""


def outside_ranges(areas: Floats, ranges: ArrayLike) -> NDArray[np.bool_]:
    """Which ``areas`` (N,) lie outside which of the ``ranges`` (A, 2): (A, N)."""
    limits = np.asarray(ranges, dtype=np.float64)
    return (areas < limits[:, :1]) | (areas > limits[:, 1:])


def match_in_ranges(
    ious: Floats,
    gt_ignored: NDArray[np.bool_],
    gt_crowd: NDArray[np.bool_],
    thresholds: ArrayLike = COCO_THRESHOLDS,
) -> Ints:
    """Match the predictions of one image and class, for each range and threshold on its own.

    As :func:`boxmetrics.matching.match_greedily`, but a prediction that reaches no free box that
    counts may take one that is set aside: the free one, or crowd region, that it overlaps most.
    (Evaluation code published with Lin et al., Microsoft COCO, 2014, arXiv 1405.0312.)

    Args:
        ious: (D, G) from :func:`boxmetrics.boxes.iou_matrix`, rows from high score to low.
        gt_ignored: which boxes are set aside in which range (A, G); crowd regions always are.
        gt_crowd: which boxes are crowd regions (G,), to be shared by any number of predictions.
        thresholds: IoU thresholds (T,) in 0..1.

    Returns:
        (A, T, D): index of the matched ground-truth box, or -1.
    """
    limits = np.minimum(np.atleast_1d(np.asarray(thresholds, np.float64)), 1 - 1e-10)
    free = np.ones((len(gt_ignored), len(limits), ious.shape[1]), dtype=bool)
    matches = np.full((*free.shape[:2], len(ious)), UNMATCHED, dtype=np.int64)
    reached = ious >= limits.min()
    for d in np.flatnonzero(reached.any(axis=1)):
        near = np.flatnonzero(reached[d])
        available = free[:, :, near] & (ious[d, near] >= limits[:, None])
        if len(near) == 1:  # by far the most frequent case, and nothing to choose
            taken = available[:, :, 0]
            matches[:, :, d][taken] = near[0]
            free[:, :, near[0]] &= ~taken | gt_crowd[near[0]]
            continue
        best = _choose(ious[d, near], available, gt_ignored[:, None, near])
        area, threshold = np.nonzero(best != UNMATCHED)
        chosen = near[best[area, threshold]]
        matches[area, threshold, d] = chosen
        free[area, threshold, chosen] = gt_crowd[chosen]
    return matches


def _choose(overlaps: Floats, available: NDArray[np.bool_], aside: NDArray[np.bool_]) -> Ints:
    """Which of C boxes a prediction takes, as (A, T): one that counts before one set aside."""
    counted = _last_best(overlaps, available & ~aside)
    return np.where(counted != UNMATCHED, counted, _last_best(overlaps, available & aside))


def _last_best(overlaps: Floats, allowed: NDArray[np.bool_]) -> Ints:
    """The last index of the highest of ``overlaps`` (C,) that is ``allowed`` (..., C), or -1."""
    values = np.where(allowed, overlaps, -1.0)
    best = len(overlaps) - 1 - np.argmax(values[..., ::-1], axis=-1)
    return np.where(allowed.any(axis=-1), best, UNMATCHED)
