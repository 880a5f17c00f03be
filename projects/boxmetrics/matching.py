"""Which prediction found which ground-truth box, by the rules of COCO.

Shape shorthand: D predicted boxes, G ground-truth boxes, T IoU thresholds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxmetrics.boxes import Floats

Ints = NDArray[np.int64]

COCO_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
UNMATCHED = -1


def by_score(scores: ArrayLike) -> Ints:
    """The order of ``scores`` (D,) from high to low; equal scores keep the order given."""
    return np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")


def match_greedily(
    ious: ArrayLike,
    gt_crowd: ArrayLike | None = None,
    thresholds: ArrayLike = COCO_THRESHOLDS,
) -> Ints:
    """Match the predictions of one image and one class, each threshold on its own.

    In row order, each prediction takes the free ground-truth box that it overlaps most, if the
    overlap reaches the threshold; among equal overlaps the last box wins. A box is taken once. A
    prediction left over may fall on a crowd region, which any number may share. So the matches of
    the first k rows do not depend on the rows after them. (Evaluation code published with Lin et
    al., Microsoft COCO, 2014, arXiv 1405.0312.)

    Args:
        ious: (D, G) from :func:`boxmetrics.boxes.iou_matrix`, rows from high score to low.
        gt_crowd: which ground-truth boxes are crowd regions (G,); none when left out.
        thresholds: IoU thresholds (T,) in 0..1.

    Returns:
        (D, T): index of the matched ground-truth box, or -1.
    """
    overlaps = np.asarray(ious, dtype=np.float64)
    # A threshold of exactly 1 would ask rounding to be kind.
    limits = np.minimum(np.atleast_1d(np.asarray(thresholds, np.float64)), 1 - 1e-10)
    matches = np.full((len(overlaps), len(limits)), UNMATCHED, dtype=np.int64)
    if overlaps.size == 0:
        return matches
    crowd = (
        np.zeros(overlaps.shape[1], bool) if gt_crowd is None else np.asarray(gt_crowd, dtype=bool)
    )
    free = np.tile(~crowd, (len(limits), 1))
    rows = np.arange(len(limits))
    for d in np.flatnonzero(overlaps.max(axis=1) >= limits.min()):
        single = _last_best(np.where(free, overlaps[d], -1.0), limits)
        region = _last_best(np.broadcast_to(np.where(crowd, overlaps[d], -1.0), free.shape), limits)
        matches[d] = np.where(single != UNMATCHED, single, region)
        taken = single != UNMATCHED
        free[rows[taken], single[taken]] = False
    return matches


def _last_best(overlaps: Floats, limits: Floats) -> Ints:
    """Per row of ``overlaps`` (T, G): the last index of its maximum, -1 if below ``limits``."""
    best = overlaps.shape[1] - 1 - np.argmax(overlaps[:, ::-1], axis=1)
    reached = np.take_along_axis(overlaps, best[:, None], axis=1)[:, 0] >= limits
    return np.where(reached, best, UNMATCHED)
