"""Which error each wrong prediction is, and which ground-truth boxes no error explains.

The six types are those of TIDE (Bolya et al., TIDE: A General Toolbox for Identifying Object
Detection Errors, ECCV 2020, arXiv 2008.08115, section 2.2), for boxes. ``IoU own`` is a
prediction's highest overlap with a box of its own class, ``IoU other`` with one of another class.
With the thresholds t_f (``threshold``, 0.5) and t_b (``background``, 0.1), a prediction that found
nothing is the first of these that applies (the order is that of the code published with TIDE):

- localisation: t_b <= IoU own < t_f; right class, wrong place.
- classification: IoU other >= t_f; right place, wrong class.
- duplicate: IoU own >= t_f, but a prediction with a higher score has that box.
- background: no overlap above t_b with any box.
- both: the rest, t_b < IoU other < t_f; wrong class and wrong place.

A ground-truth box that nobody found is *missed* unless a classification or localisation error
overlaps it most: that prediction would find it, were it put right.

Shape shorthand: D predictions, G ground-truth boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from boxmetrics.average_precision import AP_DETECTIONS
from boxmetrics.boxes import Floats, iou_matrix
from boxmetrics.matches import Matches
from boxmetrics.matching import UNMATCHED, Ints, Mask, match_greedily, outside_ranges
from boxmetrics.tables import rank_in_class


class Label(IntEnum):
    """What a prediction is. Those set aside count neither as right nor as wrong."""

    HIT = 0
    ASIDE = 1
    CLASSIFICATION = 2
    LOCALISATION = 3
    BOTH = 4
    DUPLICATE = 5
    BACKGROUND = 6


@dataclass(frozen=True)
class ErrorLabels:
    """The verdict on each box of a data set, in the order of its ``Matches``."""

    det_label: Ints  # (D,) a Label
    det_target: Ints  # (D,) ground-truth row of a classification or localisation error, else -1
    gt_counts: Mask  # (G,) neither crowd region nor outside the range of area
    gt_found: Mask  # (G,)

    @property
    def gt_missed(self) -> Mask:
        """Ground truth (G,) that counts, was not found, and that no error explains."""
        explained = np.zeros(len(self.gt_found), dtype=bool)
        explained[self.det_target[self.det_target != UNMATCHED]] = True
        return self.gt_counts & ~self.gt_found & ~explained


def label_errors(
    matches: Matches,
    threshold: float = 0.5,
    background: float = 0.1,
    area_range: tuple[float, float] | None = None,
) -> ErrorLabels:
    """Match anew at one threshold and say of each wrong prediction what is wrong.

    Args:
        matches: Whose boxes are taken. Predictions beyond
            :data:`boxmetrics.average_precision.AP_DETECTIONS` of an image and class are set aside.
        threshold: t_f, the IoU from which on a box is found.
        background: t_b, the IoU up to which a prediction lies on background.
        area_range: Square pixels of the original image, limits included. As in COCO's AP by size,
            ground truth whose annotated area is outside is set aside with the predictions that
            match it, and so are unmatched predictions whose width times height is outside. The
            type of an error is still told from all ground truth but crowd regions. Left out, all
            sizes count.

    Raises:
        ValueError: thresholds not in 0 < background < threshold < 1, or a range that does not
            rise.
    """
    _check(threshold, background, area_range)
    limits = [area_range or (-np.inf, np.inf)]
    gt_counts = ~matches.gt_crowd & ~outside_ranges(matches.gt_area, limits)[0]
    det_outside = outside_ranges(matches.det_area, limits)[0]
    labels = np.full(len(matches.det_score), Label.ASIDE, dtype=np.int64)
    targets = np.full(len(labels), UNMATCHED, dtype=np.int64)
    found = np.zeros(len(gt_counts), dtype=bool)
    kept = np.flatnonzero(rank_in_class(matches.det_image, matches.det_class) < AP_DETECTIONS)
    for dets, gts in matches.by_image(kept):
        overlaps = _overlaps(matches, dets, gts)
        crowd, ignored = matches.gt_crowd[gts], ~gt_counts[gts]
        taken = match_greedily(overlaps.matching, crowd, threshold, ignored)[:, 0]
        hit = (taken != UNMATCHED) & np.append(gt_counts[gts], False)[taken]
        wrong = (taken == UNMATCHED) & ~det_outside[dets]
        labels[dets[hit]] = Label.HIT
        labels[dets[wrong]] = overlaps.error_type(threshold, background)[wrong]
        found[gts.start + taken[hit]] = True
        for label, ious in (
            (Label.LOCALISATION, overlaps.own),
            (Label.CLASSIFICATION, overlaps.other),
        ):
            rows = np.flatnonzero(labels[dets] == label)
            if len(rows):
                targets[dets[rows]] = gts.start + ious[rows].argmax(axis=1)
    return ErrorLabels(labels, targets, gt_counts, found)


def _check(threshold: float, background: float, area_range: tuple[float, float] | None) -> None:
    if not 0 < background < threshold < 1:
        raise ValueError(
            f"The IoU thresholds {threshold} (found) and {background} (background) were given; "
            "0 < background < found < 1 is expected, such as 0.5 and 0.1."
        )
    if area_range is not None and not area_range[0] < area_range[1]:
        raise ValueError(
            f"The range of area {area_range} was given; two rising numbers of square pixels are "
            "expected, such as (0, 1024)."
        )


@dataclass(frozen=True)
class _Overlaps:
    """Of the predictions of an image with its ground truth; 0 where a pair is not asked about."""

    matching: Floats  # (D, G) boxes and crowd regions of the same class
    own: Floats  # (D, G) boxes of the same class
    other: Floats  # (D, G) boxes of other classes

    def error_type(self, threshold: float, background: float) -> Ints:
        """The error (D,) that each prediction is, if it was not matched."""
        own, other = (ious.max(axis=1, initial=0.0) for ious in (self.own, self.other))
        return np.select(
            [
                (background <= own) & (own < threshold),
                other >= threshold,
                own >= threshold,
                np.maximum(own, other) <= background,
            ],
            [Label.LOCALISATION, Label.CLASSIFICATION, Label.DUPLICATE, Label.BACKGROUND],
            Label.BOTH,
        )


def _overlaps(matches: Matches, dets: Ints, gts: slice) -> _Overlaps:
    crowd = matches.gt_crowd[gts]
    ious = iou_matrix(matches.det_box[dets], matches.gt_box[gts], crowd)
    same = matches.det_class[dets, None] == matches.gt_class[gts]
    return _Overlaps(ious * same, ious * (same & ~crowd), ious * (~same & ~crowd))
