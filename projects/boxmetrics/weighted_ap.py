"""COCO's average precision of images that count with a weight.

A weight of 2 is what the same image twice in the data set would do, 0 is leaving it out; so one
call scores many resampled data sets. What is weighted need not be an image: any *unit* of images,
such as a recording, will do. Shape shorthand: N images, U units, D predictions, H true positives,
G ground-truth boxes, T IoU thresholds, B sets of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boxmetrics.average_precision import AP_DETECTIONS, RECALL_POINTS
from boxmetrics.boxes import Floats
from boxmetrics.matches import Matches
from boxmetrics.matching import UNMATCHED, Ints, Mask, by_score
from boxmetrics.tables import rank_in_class

_MAX_ELEMENTS = 1 << 20
"""Of the largest array (weights, predictions); larger ones leave the cache and are slower."""


@dataclass(frozen=True)
class RankedClass:
    """The predictions of one class from high score to low, and its ground truth that counts."""

    det_unit: Ints  # (D,) whose weight a prediction has
    hit: Mask  # (D, T) true positives
    ignored: Mask  # (D, T) neither right nor wrong
    gt_unit: Ints  # (G,)


def rank_classes(
    matches: Matches,
    thresholds: Sequence[float] | Floats,
    units: Ints | None = None,
    classes: Sequence[int] | None = None,
) -> list[RankedClass]:
    """Bring the predictions that AP looks at into its order, class by class.

    Args:
        matches: Predictions beyond :data:`boxmetrics.average_precision.AP_DETECTIONS` of an image
            and class are left out; those matched to a crowd region are ignored.
        thresholds: IoU (T,), among those of ``matches``.
        units: (N,) the unit of each image, from 0; left out, each image is its own.
        classes: Left out, all that have ground truth.

    Raises:
        ValueError: ``matches`` lacks a threshold.
    """
    columns = matches.columns(thresholds)
    units = np.arange(len(matches.image_ids)) if units is None else units
    gt = ~matches.gt_crowd
    kept = rank_in_class(matches.det_image, matches.det_class) < AP_DETECTIONS
    found = matches.det_gt[:, columns]
    crowd = np.append(matches.gt_crowd, False)[found]  # row -1, unmatched, is no crowd region
    ranked = []
    for k in np.unique(matches.gt_class[gt]) if classes is None else classes:
        rows = np.flatnonzero(kept & (matches.det_class == k))
        rows = rows[by_score(matches.det_score[rows])]
        ranked.append(
            RankedClass(
                det_unit=units[matches.det_image[rows]],
                hit=(found[rows] != UNMATCHED) & ~crowd[rows],
                ignored=crowd[rows],
                gt_unit=units[matches.gt_image[gt & (matches.gt_class == k)]],
            )
        )
    return ranked


def mean_weighted_ap(ranked: Sequence[RankedClass], weights: Ints) -> Floats:
    """AP (B,) as mean over classes and thresholds, 0..1, for ``weights`` (B, U).

    Classes without ground truth among the weights are left out of the mean, as COCO does; NaN
    where no class has any.
    """
    by_class = np.stack([np.full(len(weights), np.nan), *(weighted_ap(r, weights) for r in ranked)])
    defined = ~np.isnan(by_class)
    total = np.where(defined, by_class, 0.0).sum(axis=0)
    count = defined.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def weighted_ap(ranked: RankedClass, weights: Ints) -> Floats:
    """AP (B,) of one class as mean over its thresholds, 0..1, for ``weights`` (B, U).

    101-point interpolation (Lin et al., Microsoft COCO, 2014, arXiv 1405.0312). Equal to COCO's
    AP of a data set that holds each unit as often as its weight says, if no two predictions of one
    unit have equal scores. NaN where the weights leave no ground truth.
    """
    total = weights @ np.bincount(ranked.gt_unit, minlength=weights.shape[1])
    values = np.zeros(len(weights))
    step = max(1, _MAX_ELEMENTS // max(1, len(ranked.det_unit)))
    for start in range(0, len(weights), step):
        part = slice(start, start + step)
        values[part] = _interpolated(ranked, weights[part], np.maximum(total[part], 1))
    return np.where(total > 0, values, np.nan)


def _interpolated(ranked: RankedClass, weights: Ints, total: Ints) -> Floats:
    """AP (B,) where ``total`` (B,) is the weight of all ground truth."""
    all_seen = np.cumsum(np.take(weights, ranked.det_unit, axis=1), axis=1)
    summed = np.zeros(len(weights))
    for hit, ignored in zip(ranked.hit.T, ranked.ignored.T, strict=True):
        # The best precision at or beyond a recall is always that at a true positive.
        rows = np.flatnonzero(hit)
        right = np.cumsum(np.take(weights, ranked.det_unit[rows], axis=1), axis=1)
        seen = np.take(all_seen, rows, axis=1)
        if ignored.any():
            seen -= _weight_before(rows, np.flatnonzero(ignored), ranked.det_unit, weights)
        precision = right / (seen + np.spacing(1))
        best_beyond = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.searchsorted(RECALL_POINTS, right / total[:, None], side="right")
        newly_reached = np.diff(reached, axis=1, prepend=0)
        summed += np.einsum("bh,bh->b", best_beyond, newly_reached) / len(RECALL_POINTS)
    return summed / ranked.hit.shape[1]


def _weight_before(rows: Ints, ignored: Ints, det_unit: Ints, weights: Ints) -> Ints:
    """Weight (B, H) of the predictions ``ignored`` that rank before each of ``rows`` (H,)."""
    summed = np.cumsum(np.take(weights, det_unit[ignored], axis=1), axis=1)
    return np.take(np.pad(summed, ((0, 0), (1, 0))), np.searchsorted(ignored, rows), axis=1)
