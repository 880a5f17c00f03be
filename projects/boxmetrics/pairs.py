"""Which predictions overlap which ground-truth boxes, for a whole table of boxes at once.

Shape shorthand: D predictions, G ground-truth boxes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from boxmetrics.boxes import iou_of_edges
from boxmetrics.matching import Ints, Pairs, reachable
from boxmetrics.tables import BoxTable

_AT_ONCE = 1 << 16  # pairs whose overlap is computed at once; more would leave the cache


def overlapping(table: BoxTable, thresholds: ArrayLike) -> Pairs:
    """The pairs of one image and class whose overlap reaches the lowest of the thresholds (T,).

    Their rows are those of the table.
    """
    lowest = reachable(thresholds).min()
    det_edges, gt_edges = table.det_box.T.copy(), table.gt_box.T.copy()
    parts = [Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for det, gt in _candidates(table):
        iou = iou_of_edges(det_edges[:, det], gt_edges[:, gt], table.gt_crowd[gt])
        near = iou >= lowest
        parts.append(Pairs(det[near], gt[near], iou[near]))
    return Pairs.in_order(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _candidates(table: BoxTable) -> Iterator[tuple[Ints, Ints]]:
    """All pairs of one image and class, some at a time: rows of predictions and ground truth."""
    first, last = table.truth_of_predictions()
    counts = last - first  # boxes for each prediction, (D,)
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = ends[start] - counts[start]
        stop = max(start + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
        number = counts[start:stop]
        det = np.repeat(np.arange(start, stop), number)
        before = np.repeat(ends[start:stop] - number - done, number)
        yield det, np.arange(len(det)) - before + first[det]
        start = stop
