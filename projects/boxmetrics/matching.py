"""Which prediction found which ground-truth box, by the rules of COCO.

Those are the rules of the evaluation code published with Lin et al., Microsoft COCO, 2014, arXiv
1405.0312. Shape shorthand: D predicted boxes, G ground-truth boxes, P pairs of both, T IoU
thresholds, A ranges of area.
"""

from __future__ import annotations

from typing import NamedTuple

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


class Pairs(NamedTuple):
    """P predictions and ground-truth boxes of one image and class that overlap.

    Sorted by prediction, the one with the highest score of an image and class first; then from
    high to low overlap; of equal overlaps the last ground-truth box comes first.
    """

    det: Ints  # (P,)
    gt: Ints  # (P,)
    iou: Floats  # (P,)

    @classmethod
    def in_order(cls, det: Ints, gt: Ints, iou: Floats) -> Pairs:
        """The same pairs, sorted."""
        order = np.lexsort((-gt, -iou, det))
        return cls(det[order], gt[order], iou[order])


def match_greedily(
    ious: ArrayLike,
    gt_crowd: ArrayLike | None = None,
    thresholds: ArrayLike = COCO_THRESHOLDS,
    gt_ignored: ArrayLike | None = None,
) -> Ints:
    """Match the predictions of one image and one class; see :func:`match_pairs`.

    Args:
        ious: (D, G) from :func:`boxmetrics.boxes.iou_matrix`, rows from high score to low.
        gt_crowd: which ground-truth boxes are crowd regions (G,); none when left out.
        thresholds: IoU thresholds (T,) in 0..1.
        gt_ignored: which boxes are set aside (G,); the crowd regions when left out.

    Returns:
        (D, T): index of the matched ground-truth box, or -1.
    """
    overlaps = np.asarray(ious, dtype=np.float64)
    crowd = np.zeros(overlaps.shape[1], bool) if gt_crowd is None else np.asarray(gt_crowd, bool)
    ignored = crowd if gt_ignored is None else np.asarray(gt_ignored, bool)
    det, gt = np.nonzero(overlaps >= reachable(thresholds).min())
    pairs = Pairs.in_order(det, gt, overlaps[det, gt])
    return match_pairs(pairs, ignored, crowd, thresholds, len(overlaps)).T


def match_pairs(
    pairs: Pairs, gt_ignored: Mask, gt_crowd: Mask, thresholds: ArrayLike, dets: int
) -> Ints:
    """Match the predictions of all images and classes, each threshold on its own.

    In order of their scores, each prediction takes the free ground-truth box that it overlaps
    most, if the overlap reaches the threshold; among equal overlaps the last box wins. A box is
    taken once. A prediction that reaches no free box that counts may take one that is set aside:
    the free one, or crowd region, that it overlaps most. So the matches of the first k predictions
    do not depend on those after them.

    Args:
        pairs: at least those whose overlap reaches a threshold.
        gt_ignored: which boxes are set aside (G,); crowd regions always are.
        gt_crowd: which boxes are crowd regions (G,), to be shared by any number of predictions.
        thresholds: IoU thresholds (T,) in 0..1.
        dets: number of predictions D.

    Returns:
        (T, D): the matched ground-truth box, or -1.
    """
    limits = reachable(thresholds)
    matches = np.full((len(limits), dets), UNMATCHED, dtype=np.int64)
    order = np.lexsort((gt_ignored[pairs.gt], pairs.det))  # stable: by overlap within both
    det, gt, iou = pairs.det[order], pairs.gt[order], pairs.iou[order]
    for limit, matched in zip(limits, matches, strict=True):
        near = iou >= limit
        _match(det[near], gt[near], gt_crowd, matched)
    return matches


def reachable(thresholds: ArrayLike) -> Floats:
    """The thresholds (T,), none at exactly 1, which would ask rounding to be kind."""
    return np.minimum(np.atleast_1d(np.asarray(thresholds, np.float64)), 1 - 1e-10)


def _match(det: Ints, gt: Ints, gt_crowd: Mask, matched: Ints) -> None:
    """Fill ``matched`` (D,) from pairs (P,), those of a prediction as it prefers them.

    What a prediction prefers is its own if no earlier one may still take it. All such matches are
    made at once, and again among what they leave over.
    """
    earliest = np.empty(len(gt_crowd), dtype=np.int64)
    is_taken = np.zeros(len(gt_crowd), dtype=bool)
    while len(det):
        earliest[gt[::-1]] = det[::-1]  # of equal places the last one written stays
        is_preferred = np.diff(det, prepend=UNMATCHED) != 0
        final = is_preferred & ((earliest[gt] == det) | gt_crowd[gt])
        matched[det[final]] = gt[final]
        is_taken[gt[final]] = ~gt_crowd[gt[final]]
        is_open = (matched[det] == UNMATCHED) & ~is_taken[gt]
        det, gt = det[is_open], gt[is_open]
