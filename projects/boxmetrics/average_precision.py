"""COCO's average precision and recall in numpy.

Equal to the evaluation code published with Lin et al., Microsoft COCO, 2014, arXiv 1405.0312, to
the last digits. Shape shorthand: D predictions, G ground-truth boxes, T IoU thresholds, R recall
points, K classes, A ranges of area, M limits of detections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxmetrics.boxes import Floats, box_area
from boxmetrics.matching import (
    AREA_RANGES,
    COCO_THRESHOLDS,
    UNMATCHED,
    Ints,
    Mask,
    by_score,
    match_pairs,
    outside_ranges,
)
from boxmetrics.pairs import overlapping
from boxmetrics.tables import BoxTable, rank_in_class

RECALL_POINTS: Floats = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS: tuple[int, ...] = (1, 10, 100, 300)
"""Predictions kept per image and class, best first, for AR."""
AP_DETECTIONS = 100
"""The same for AP, and for AR by size."""


@dataclass(frozen=True)
class Curves:
    """What AP and AR are means of, 0..1; NaN where a class has no ground truth in a range."""

    precision: Floats  # (T, R, K, A) highest precision at this recall or beyond
    recall: Floats  # (T, K, A, M) recall of what each of MAX_DETECTIONS keeps
    iou_thresholds: Floats  # (T,)

    def ap(
        self, iou: float | None = None, area: int = 0, classes: Sequence[int] | None = None
    ) -> float | None:
        """Average precision in percent; None without ground truth.

        Args:
            iou: One threshold; None means all of them.
            area: Range of area, as index.
            classes: Those to average over; None means all. Classes without ground truth are
                left out.
        """
        values = self.precision[self._thresholds(iou), :, :, area]
        return _percent(values if classes is None else values[..., list(classes)])

    def ar(self, limit: int, area: int = 0) -> float | None:
        """Average recall in percent with ``limit`` detections per image and class."""
        return _percent(self.recall[:, :, area, MAX_DETECTIONS.index(limit)])

    def _thresholds(self, iou: float | None) -> slice | Ints:
        return slice(None) if iou is None else np.flatnonzero(np.isclose(self.iou_thresholds, iou))


@dataclass(frozen=True)
class _Matched:
    """Predictions within the highest limit, class by class, and what became of them."""

    det_class: Ints  # (D,)
    det_score: Floats  # (D,)
    rank: Ints  # (D,) place among those of the same image and class
    hit: Mask  # (A, T, D)
    ignored: Mask  # (A, T, D)


def precision_recall(
    table: BoxTable,
    num_classes: int,
    area_ranges: ArrayLike | None = None,
    thresholds: ArrayLike = COCO_THRESHOLDS,
) -> Curves:
    """Match, then accumulate over images.

    Args:
        table: Predictions and ground truth. Among equal scores the earlier image comes first.
        num_classes: K; all class numbers are below.
        area_ranges: (A, 2), square pixels, limits included; left out, COCO's. Ground truth outside
            of a range and crowd regions are set aside, with the predictions that match them;
            unmatched predictions outside count neither. Ground truth counts with its annotated
            area, predictions with width times height.
        thresholds: IoU thresholds (T,).

    Returns:
        The curves, for the limits :data:`AP_DETECTIONS` and :data:`MAX_DETECTIONS`.

    Raises:
        ValueError: a class number outside 0..K-1.
    """
    check_classes(table.det_class, table.gt_class, num_classes)
    ranges = np.asarray(list(AREA_RANGES.values()) if area_ranges is None else area_ranges)
    ious = np.atleast_1d(np.asarray(thresholds, np.float64))
    aside = outside_ranges(table.gt_area, ranges) | table.gt_crowd
    found = _match(table, aside, ranges, ious)
    shape = (len(ious), num_classes, len(ranges))
    precision = np.full((shape[0], len(RECALL_POINTS), *shape[1:]), np.nan)
    recall = np.full((*shape, len(MAX_DETECTIONS)), np.nan)
    for k in range(num_classes):
        rows = np.flatnonzero(found.det_class == k)
        rows = rows[by_score(found.det_score[rows])]  # ties in order of images
        for a, total in enumerate(np.count_nonzero(~aside[:, table.gt_class == k], axis=1)):
            if total:
                hit, ignored = found.hit[a][:, rows], found.ignored[a][:, rows]
                kept = found.rank[rows] < AP_DETECTIONS
                precision[:, :, k, a] = _precision(hit[:, kept], ignored[:, kept], total)
                recall[:, k, a] = _recall(hit & ~ignored, found.rank[rows], total)
    return Curves(precision, recall, ious)


def check_classes(det_class: Ints, gt_class: Ints, num_classes: int) -> None:
    """Refuse classes (D,) and (G,) that would be scored nowhere.

    Raises:
        ValueError: a class number outside 0..K-1.
    """
    for what, classes in (("prediction", det_class), ("ground truth", gt_class)):
        wrong = classes[(classes < 0) | (classes >= num_classes)]
        if len(wrong):
            raise ValueError(
                f"Class {wrong[0]} occurs in the {what}, but there are {num_classes} classes, "
                "counted from 0. Give the class map that the data were prepared with."
            )


def _match(table: BoxTable, aside: Mask, ranges: Floats, thresholds: Floats) -> _Matched:
    """Match each image and class; predictions beyond the highest limit are left out."""
    rank = rank_in_class(table.det_image, table.det_class)
    rows = np.flatnonzero(rank < max(*MAX_DETECTIONS, AP_DETECTIONS))
    table = table.select(rows, np.arange(len(table.gt_class)))
    outside = outside_ranges(box_area(table.det_box), ranges)
    hit = np.zeros((len(ranges), len(thresholds), len(rows)), dtype=bool)
    ignored = np.repeat(outside[:, None], len(thresholds), axis=1)
    pairs = overlapping(table, thresholds)
    for a, gt_aside in enumerate(aside):
        matches = match_pairs(pairs, gt_aside, table.gt_crowd, thresholds, len(rows))
        hit[a] = matches != UNMATCHED
        ignored[a] = np.where(hit[a], np.append(gt_aside, False)[matches], ignored[a])
    return _Matched(table.det_class, table.det_score, rank[rows], hit, ignored)


def _precision(hit: Mask, ignored: Mask, total: int) -> Floats:
    """Precision (T, R) at the recall points from rows (T, D) sorted by score."""
    right = np.cumsum(hit & ~ignored, axis=1, dtype=np.float64)
    wrong = np.cumsum(~hit & ~ignored, axis=1, dtype=np.float64)
    precision = right / (right + wrong + np.spacing(1))
    best_beyond = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    sampled = np.zeros((len(hit), len(RECALL_POINTS)))
    for t, recall in enumerate(right / total):
        first = np.searchsorted(recall, RECALL_POINTS, side="left")
        reached = first < len(recall)
        sampled[t, reached] = best_beyond[t, first[reached]]
    return sampled


def _recall(found: Mask, rank: Ints, total: int) -> Floats:
    """Recall (T, M) of the predictions (T, D) that each limit keeps by their ``rank`` (D,)."""
    kept = [np.count_nonzero(found[:, rank < limit], axis=1) for limit in MAX_DETECTIONS]
    return np.stack(kept, axis=1) / total


def _percent(values: NDArray[np.float64]) -> float | None:
    """Mean of what is defined, in percent."""
    defined = values[~np.isnan(values)]
    return 100 * float(defined.mean()) if defined.size else None
