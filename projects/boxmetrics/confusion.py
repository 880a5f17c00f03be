"""Which class is taken for which, how recall depends on size, and false alarms on empty images.

Shape shorthand: N images, D predictions, G ground-truth boxes, K classes, E edges of size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from boxmetrics.average_precision import AP_DETECTIONS, check_classes
from boxmetrics.boxes import iou_matrix
from boxmetrics.matches import Matches
from boxmetrics.matching import UNMATCHED, Ints, match_greedily
from boxmetrics.tables import rank_in_class


def confusion_matrix(
    matches: Matches, num_classes: int, min_score: float = 0.3, iou: float = 0.5
) -> Ints:
    """Count which class the detector gives to the objects of each class.

    Within an image and without regard to class, each prediction from high score to low takes the
    free ground-truth box that it overlaps most. So an object counts with the surest prediction
    for it, and the others are false alarms. A prediction left over that lies on a crowd region of
    its class is not counted.

    Args:
        matches: Whose boxes are taken.
        num_classes: K; all class numbers are below.
        min_score: Predictions below are left out.
        iou: Overlap from which on a box is taken.

    Returns:
        (K + 1, K + 1) counts: rows the true class, columns the predicted one. Row K holds the
        false alarms, column K the missed objects; the sum of row k < K is the ground truth of
        class k without crowd regions.

    Raises:
        ValueError: a class number outside 0..K-1.
    """
    check_classes(matches.det_class, matches.gt_class, num_classes)
    counts = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    kept = np.flatnonzero(matches.det_score >= min_score)
    kept = kept[np.lexsort((-matches.det_score[kept], matches.det_image[kept]))]
    for dets, gts in matches.by_image(kept):
        true, predicted = _image_pairs(matches, dets, gts, iou)
        np.add.at(counts, (true, predicted), 1)  # -1, none, is the last row or column
    return counts


def _image_pairs(matches: Matches, dets: Ints, gts: slice, iou: float) -> tuple[Ints, Ints]:
    """The true class and the predicted one of each object and false alarm of an image; -1: none."""
    det_class, gt_class = matches.det_class[dets], matches.gt_class[gts]
    crowd = matches.gt_crowd[gts]
    ious = iou_matrix(matches.det_box[dets], matches.gt_box[gts], crowd)
    foreign = det_class[:, None] != gt_class
    taken = match_greedily(np.where(foreign & crowd, 0.0, ious), crowd, [iou])[:, 0]
    counted = ~np.append(crowd, False)[taken]
    missed = gt_class[np.setdiff1d(np.flatnonzero(~crowd), taken)]
    true = np.append(gt_class, UNMATCHED)[taken[counted]]
    nothing = np.full(len(missed), UNMATCHED)
    return np.concatenate([true, missed]), np.concatenate([det_class[counted], nothing])


class SizeRecall(NamedTuple):
    """How many objects of a size are found; sizes are square roots of annotated area, in pixels."""

    low: float  # included
    high: float  # left out; the last bin has no end
    count: int
    found: int

    @property
    def recall(self) -> float | None:
        """In percent; None without objects."""
        return 100 * self.found / self.count if self.count else None


def recall_by_size(
    matches: Matches, edges: ArrayLike, iou: float = 0.5, min_score: float = 0.0
) -> list[SizeRecall]:
    """Recall of the ground truth, crowd regions apart, in bins of its size.

    Args:
        matches: Matched at ``iou``, class by class; the first
            :data:`boxmetrics.average_precision.AP_DETECTIONS` of an image and class count.
        edges: (E,) where one bin ends and the next begins, rising: square root of the annotated
            area in pixels of the original image. Every object is in a bin.
        iou: Overlap from which on an object is found.
        min_score: A prediction below finds nothing.

    Returns:
        E + 1 bins: below the first edge, between neighbours, from the last edge on.

    Raises:
        ValueError: edges that do not rise above 0, or an ``iou`` that was not matched.
    """
    inner = np.asarray(edges, np.float64).reshape(-1)
    limits = np.array([0.0, *inner, np.inf])
    if not (limits[1:] > limits[:-1]).all():
        raise ValueError(
            f"The edges {inner.tolist()} were given; sizes in pixels that rise and are above 0 "
            "are expected, such as [8, 16, 32, 96]."
        )
    by = matches.gt_det[:, matches.columns(iou)[0]]
    counts = matches.det_score >= min_score
    counts &= rank_in_class(matches.det_image, matches.det_class) < AP_DETECTIONS
    found = np.append(counts, False)[by]  # -1: missed
    truth = ~matches.gt_crowd
    bins = np.searchsorted(inner, np.sqrt(matches.gt_area), side="right")
    total, hits = (np.bincount(bins[m], minlength=len(inner) + 1) for m in (truth, truth & found))
    rows = zip(limits[:-1], limits[1:], total, hits, strict=True)
    return [SizeRecall(float(low), float(high), int(n), int(hit)) for low, high, n, hit in rows]


class FalseAlarms(NamedTuple):
    """Predictions on the images that hold no object."""

    image_ids: Ints  # (N,) of the empty images
    counts: Ints  # (N,) predictions on each

    @property
    def per_image(self) -> float | None:
        """Mean count; None where no image is empty."""
        return float(self.counts.mean()) if len(self.counts) else None


def false_alarms_on_empty(matches: Matches, min_score: float = 0.3) -> FalseAlarms:
    """Count the predictions with ``min_score`` or more on images without any ground truth.

    An image with crowd regions only is not empty.
    """
    images = len(matches.image_ids)
    empty = np.bincount(matches.gt_image, minlength=images) == 0
    alarms = np.bincount(matches.det_image[matches.det_score >= min_score], minlength=images)
    return FalseAlarms(matches.image_ids[empty], alarms[empty])
