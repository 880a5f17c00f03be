"""Which prediction found which ground-truth box, by the rules of COCO.

Those are the rules of the evaluation code published with Lin et al., Microsoft COCO, 2014, arXiv
1405.0312. Shape shorthand: D predicted boxes, G ground-truth boxes, T IoU thresholds, A ranges of
area.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxmetrics.boxes import Floats

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

COCO_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
UNMATCHED = -1
AREA_RANGES: dict[str, tuple[float, float]] = {
    "all": (0, 1e5**2),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e5**2),
}
"""COCO's, in square pixels. A box on a limit belongs to both ranges."""


def by_score(scores: ArrayLike) -> Ints:
    """The order of ``scores`` (D,) from high to low; equal scores keep the order given."""
    return np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")


def outside_ranges(areas: Floats, ranges: ArrayLike) -> Mask:
    """Which ``areas`` (N,) lie outside which of the ``ranges`` (A, 2): (A, N)."""
    limits = np.asarray(ranges, dtype=np.float64)
    return (areas < limits[:, :1]) | (areas > limits[:, 1:])


def match_greedily(
    ious: ArrayLike,
    gt_crowd: ArrayLike | None = None,
    thresholds: ArrayLike = COCO_THRESHOLDS,
) -> Ints:
    """Match the predictions of one image and one class, each threshold on its own.

    In row order, each prediction takes the free ground-truth box that it overlaps most, if the
    overlap reaches the threshold; among equal overlaps the last box wins. A box is taken once. A
    prediction left over may fall on a crowd region, which any number may share. So the matches of
    the first k rows do not depend on the rows after them.

    Args:
        ious: (D, G) from :func:`boxmetrics.boxes.iou_matrix`, rows from high score to low.
        gt_crowd: which ground-truth boxes are crowd regions (G,); none when left out.
        thresholds: IoU thresholds (T,) in 0..1.

    Returns:
        (D, T): index of the matched ground-truth box, or -1.
    """
    overlaps = np.asarray(ious, dtype=np.float64)
    crowd = np.zeros(overlaps.shape[1], bool) if gt_crowd is None else np.asarray(gt_crowd, bool)
    return match_in_ranges(overlaps, crowd[None], crowd, thresholds)[0].T


def match_in_ranges(
    ious: Floats, gt_ignored: Mask, gt_crowd: Mask, thresholds: ArrayLike = COCO_THRESHOLDS
) -> Ints:
    """Match the predictions of one image and class, for each range and threshold on its own.

    As :func:`match_greedily`, but a prediction that reaches no free box that counts may take one
    that is set aside: the free one, or crowd region, that it overlaps most.

    Args:
        ious: (D, G) from :func:`boxmetrics.boxes.iou_matrix`, rows from high score to low.
        gt_ignored: which boxes are set aside in which range (A, G); crowd regions always are.
        gt_crowd: which boxes are crowd regions (G,), to be shared by any number of predictions.
        thresholds: IoU thresholds (T,) in 0..1.

    Returns:
        (A, T, D): index of the matched ground-truth box, or -1.
    """
    # A threshold of exactly 1 would ask rounding to be kind.
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


def _choose(overlaps: Floats, available: Mask, aside: Mask) -> Ints:
    """Which of C boxes a prediction takes, as (A, T): one that counts before one set aside."""
    counted = _last_best(overlaps, available & ~aside)
    return np.where(counted != UNMATCHED, counted, _last_best(overlaps, available & aside))


def _last_best(overlaps: Floats, allowed: Mask) -> Ints:
    """The last index of the highest of ``overlaps`` (C,) that is ``allowed`` (..., C), or -1."""
    values = np.where(allowed, overlaps, -1.0)
    best = len(overlaps) - 1 - np.argmax(values[..., ::-1], axis=-1)
    return np.where(allowed.any(axis=-1), best, UNMATCHED)
