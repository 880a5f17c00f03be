"""Matching: against COCO's rules written as loops, and the properties that follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from ap_scenes import random_image
from hypothesis import given, settings
from hypothesis import strategies as st

from boxmetrics import pairs
from boxmetrics.boxes import iou_matrix
from boxmetrics.matching import COCO_THRESHOLDS, UNMATCHED, by_score, match_greedily
from boxmetrics.tables import BoxTable


def slow_match(
    ious: np.ndarray, crowd: np.ndarray, ignored: np.ndarray, threshold: float
) -> list[int]:
    """The rules for one threshold, one comparison at a time."""
    order = sorted(range(ious.shape[1]), key=lambda g: bool(ignored[g]))
    taken: set[int] = set()
    matches = []
    for row in ious:
        best, match = min(threshold, 1 - 1e-10), UNMATCHED
        for g in order:
            if g in taken:
                continue
            if match != UNMATCHED and not ignored[match] and ignored[g]:
                break
            if row[g] >= best:
                best, match = row[g], g
        if match != UNMATCHED and not crowd[match]:
            taken.add(match)
        matches.append(match)
    return matches


@st.composite
def overlaps(draw):
    """IoUs, many equal or just at a threshold; some truth is set aside, and some of it crowd."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(0, 8)), draw(st.integers(0, 6))
    ious = rng.integers(0, draw(st.sampled_from([2, 4, 20])) + 1, shape)
    ious = ious / max(ious.max(initial=1), 1)
    ignored = rng.random(shape[1]) < 0.4
    return ious, ignored & (rng.random(shape[1]) < 0.6), ignored


@given(overlaps())
@settings(max_examples=150, deadline=None)
def test_equals_the_rules_as_loops(case):
    ious, crowd, ignored = case
    matches = match_greedily(ious, crowd, gt_ignored=ignored)
    assert matches.shape == (len(ious), len(COCO_THRESHOLDS))
    for t, threshold in enumerate(COCO_THRESHOLDS):
        assert matches[:, t].tolist() == slow_match(ious, crowd, ignored, threshold)


@pytest.mark.parametrize("at_once", [1, 7, 10**6])
def test_pairs_of_a_table_are_those_of_its_images_and_classes(at_once, monkeypatch):
    monkeypatch.setattr(pairs, "_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    table = BoxTable.of_images(random_image(rng, n, classes=2) for n in range(8))
    found = pairs.overlapping(table, [0.5, 0.1])
    same = (table.det_image[:, None] == table.gt_image) & (
        table.det_class[:, None] == table.gt_class
    )
    ious = np.where(same, iou_matrix(table.det_box, table.gt_box, table.gt_crowd), 0)
    assert len(found.det) == len({*zip(found.det, found.gt, strict=True)}) == (ious >= 0.1).sum()
    np.testing.assert_array_equal(found.iou, ious[found.det, found.gt])
    in_order = [*zip(found.det, -found.iou, -found.gt, strict=True)]
    assert in_order == sorted(in_order)


def test_crowd_regions_are_shared_and_come_second():
    ious = [[0.6, 1.0], [0.6, 1.0], [0.6, 1.0]]
    matches = match_greedily(ious, [False, True], 0.5)
    assert matches[:, 0].tolist() == [0, 1, 1]


def test_an_overlap_of_one_reaches_a_threshold_of_one():
    assert match_greedily([[1.0]], thresholds=1.0).tolist() == [[0]]


def test_equal_scores_keep_their_order():
    assert by_score([0.5, 0.9, 0.5, 0.9]).tolist() == [1, 3, 0, 2]
