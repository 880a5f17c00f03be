"""What AP each type of error costs.

As in TIDE (Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV
2020, arXiv 2008.08115, section 2.3), an oracle puts right all errors of one type, and nothing
else; the cost is how far AP rises. The types are told apart in :mod:`boxmetrics.error_labels`.
The oracles:

- classification: the prediction gets the class of the box that it overlaps most and finds it;
  localisation: it gets that box's place. Of several that would find the same box the one with the
  highest score does; they, and all on boxes found already, go.
- both, duplicate, background: the predictions go.
- missed: the boxes are not asked for.
- false positives: all wrong predictions go. False negatives: of the ground truth, only what was
  found is asked for.

No cost is negative: an oracle never lowers the precision or the recall of any first predictions,
and AP is a mean over the highest precisions from each recall on. The costs do not add up to what
is lost, as errors hide one another.

Where this differs from the code published with TIDE: classes without ground truth, also those that
an oracle leaves without any, are left out of the mean, as COCO does; the limit of 100 predictions
is for each image and class; and each oracle picks the best prediction for a box among the errors
of its type alone, as the paper says.

Shape shorthand: D predictions, G ground-truth boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from boxmetrics.boxes import Floats
from boxmetrics.error_labels import ErrorLabels, Label, label_errors
from boxmetrics.matches import Matches
from boxmetrics.matching import Ints, Mask, by_score
from boxmetrics.weighted_ap import RankedClass, mean_weighted_ap

PREDICTION_ERRORS = (
    Label.CLASSIFICATION,
    Label.LOCALISATION,
    Label.BOTH,
    Label.DUPLICATE,
    Label.BACKGROUND,
)


class ErrorCost(NamedTuple):
    """How often a type of error occurs, and what it costs."""

    name: str
    count: int
    cost: float | None  # points of AP; None where AP is undefined, before or after the oracle


@dataclass(frozen=True)
class ErrorReport:
    """The errors of a run.

    Attributes:
        ap: In percent, at ``threshold`` and within the range of area; None without ground truth.
        errors: Classification, localisation, both, duplicate, background, missed.
        false_positives: All but the missed ones together.
        false_negatives: All ground truth that was not found, explained by an error or missed.
        num_ground_truth: Boxes that count.
        threshold: IoU from which on a box is found.
        background: IoU up to which a prediction lies on background.
        area_range: Square pixels; None for all.
    """

    ap: float | None
    errors: tuple[ErrorCost, ...]
    false_positives: ErrorCost
    false_negatives: ErrorCost
    num_ground_truth: int
    threshold: float
    background: float
    area_range: tuple[float, float] | None


def error_costs(
    matches: Matches,
    threshold: float = 0.5,
    background: float = 0.1,
    area_range: tuple[float, float] | None = None,
) -> ErrorReport:
    """Count the six types of error and put a price on each.

    Args and errors are those of :func:`boxmetrics.error_labels.label_errors`, which says what
    ``area_range`` sets aside: ground truth by its annotated area, unmatched predictions by width
    times height. So ``ap`` is COCO's AP of that range at ``threshold``.

    Returns:
        The report. A run that finds nothing has no cost of missed boxes, as nothing would be left
        to score: None.
    """
    labels = label_errors(matches, threshold, background, area_range)
    scene = _Scene(
        det_class=matches.det_class,
        det_score=matches.det_score,
        hit=labels.det_label == Label.HIT,
        counts=labels.det_label != Label.ASIDE,
        gt_class=matches.gt_class[labels.gt_counts],
    )
    before, wrong = scene.ap(), scene.counts & ~scene.hit
    missed, not_found = labels.gt_missed[labels.gt_counts], ~labels.gt_found[labels.gt_counts]

    def priced(name: str, errors: Mask, fixed: _Scene) -> ErrorCost:
        return ErrorCost(name, int(np.count_nonzero(errors)), _rise(before, fixed.ap()))

    predictions = [
        priced(label.name.lower(), mask, _put_right(scene, mask, labels, matches.gt_class))
        for label, mask in ((label, labels.det_label == label) for label in PREDICTION_ERRORS)
    ]
    return ErrorReport(
        ap=before,
        errors=(*predictions, priced("missed", missed, scene.not_asked_for(missed))),
        false_positives=priced("false_positives", wrong, scene.without(wrong)),
        false_negatives=priced("false_negatives", not_found, scene.not_asked_for(not_found)),
        num_ground_truth=len(scene.gt_class),
        threshold=threshold,
        background=background,
        area_range=area_range,
    )


@dataclass(frozen=True)
class _Scene:
    """All that AP at one threshold rests on; predictions in the order of ``Matches``."""

    det_class: Ints  # (D,)
    det_score: Floats  # (D,)
    hit: Mask  # (D,)
    counts: Mask  # (D,)
    gt_class: Ints  # (G,) of the ground truth that counts

    def without(self, dets: Mask) -> _Scene:
        """The same without some predictions (D,)."""
        return replace(self, counts=self.counts & ~dets)

    def not_asked_for(self, gts: Mask) -> _Scene:
        """The same without some ground truth (G,) that nobody found."""
        return replace(self, gt_class=self.gt_class[~gts])

    def ap(self) -> float | None:
        """In percent; None without ground truth."""
        ranked = [self._ranked(k) for k in np.unique(self.gt_class)]
        value = 100 * float(mean_weighted_ap(ranked, np.ones((1, 1), np.int64))[0])
        return None if np.isnan(value) else value

    def _ranked(self, k: int) -> RankedClass:
        """Class ``k``, with all images as one unit."""
        rows = np.flatnonzero(self.counts & (self.det_class == k))
        hit = self.hit[rows[by_score(self.det_score[rows])], None]
        truth = np.count_nonzero(self.gt_class == k)
        zeros = np.zeros(max(len(rows), truth), np.int64)
        return RankedClass(zeros[: len(rows)], hit, np.zeros_like(hit), zeros[:truth])


def _put_right(scene: _Scene, errors: Mask, labels: ErrorLabels, gt_class: Ints) -> _Scene:
    """``scene`` where the predictions ``errors`` (D,) find their target, or are gone."""
    open_gt = np.append(labels.gt_counts & ~labels.gt_found, False)  # row -1: no target
    rows = np.flatnonzero(errors & open_gt[labels.det_target])
    rows = rows[by_score(scene.det_score[rows])]
    targets, best = np.unique(labels.det_target[rows], return_index=True)
    hit, det_class = scene.hit.copy(), scene.det_class.copy()
    hit[rows[best]], det_class[rows[best]] = True, gt_class[targets]
    return replace(scene, hit=hit, det_class=det_class).without(errors & ~hit)


def _rise(before: float | None, after: float | None) -> float | None:
    """From ``before`` to ``after``, without the noise of rounding."""
    return None if before is None or after is None else round(after - before, 9) + 0.0
