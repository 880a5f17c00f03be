"""Matching: against COCO's rules written as loops, and the properties that follow from them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from boxmetrics.matching import COCO_THRESHOLDS, UNMATCHED, by_score, match_greedily


def slow_match(ious: np.ndarray, crowd: np.ndarray, threshold: float) -> list[int]:
    """The rules for one threshold, one comparison at a time."""
    order = sorted(range(ious.shape[1]), key=lambda g: bool(crowd[g]))
    taken: set[int] = set()
    matches = []
    for row in ious:
        best, match = min(threshold, 1 - 1e-10), UNMATCHED
        for g in order:
            if g in taken:
                continue
            if match != UNMATCHED and not crowd[match] and crowd[g]:
                break
            if row[g] >= best:
                best, match = row[g], g
        if match != UNMATCHED and not crowd[match]:
            taken.add(match)
        matches.append(match)
    return matches


@st.composite
def overlaps(draw):
    """IoUs of which many are equal, many reach a threshold exactly, and some truth is crowd."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(0, 8)), draw(st.integers(0, 6))
    ious = rng.integers(0, draw(st.sampled_from([2, 4, 20])) + 1, shape)
    ious = ious / max(ious.max(initial=1), 1)
    return ious, rng.random(shape[1]) < 0.3


@given(overlaps())
@settings(max_examples=150, deadline=None)
def test_equals_the_rules_as_loops(case):
    ious, crowd = case
    matches = match_greedily(ious, crowd)
    assert matches.shape == (len(ious), len(COCO_THRESHOLDS))
    for t, threshold in enumerate(COCO_THRESHOLDS):
        assert matches[:, t].tolist() == slow_match(ious, crowd, threshold)


def test_crowd_regions_are_shared_and_come_second():
    ious = [[0.6, 1.0], [0.6, 1.0], [0.6, 1.0]]
    matches = match_greedily(ious, [False, True], 0.5)
    assert matches[:, 0].tolist() == [0, 1, 1]


def test_an_overlap_of_one_reaches_a_threshold_of_one():
    assert match_greedily([[1.0]], thresholds=1.0).tolist() == [[0]]


def test_equal_scores_keep_their_order():
    assert by_score([0.5, 0.9, 0.5, 0.9]).tolist() == [1, 3, 0, 2]
