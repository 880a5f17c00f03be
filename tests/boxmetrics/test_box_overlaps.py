"""Overlaps: against a plain loop, against pycocotools, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from boxmetrics.boxes import as_boxes, box_area, iou_matrix, xywh_to_xyxy, xyxy_to_xywh

seeds = st.integers(0, 2**32 - 1)


def random_boxes(rng: np.random.Generator, count: int, integers: bool = True) -> np.ndarray:
    """Boxes on a small grid: touching, nested, equal and empty ones all occur."""
    corner, size = rng.uniform(0, 12, (count, 2)), rng.uniform(0, 8, (count, 2))
    if integers:
        corner, size = corner.round(), size.round()
    return np.concatenate([corner, corner + size], axis=1)


def slow_iou(box: np.ndarray, truth: np.ndarray, crowd: bool) -> float:
    width = min(box[2], truth[2]) - max(box[0], truth[0])
    height = min(box[3], truth[3]) - max(box[1], truth[1])
    if width <= 0 or height <= 0:
        return 0.0
    own = (box[2] - box[0]) * (box[3] - box[1])
    other = (truth[2] - truth[0]) * (truth[3] - truth[1])
    return width * height / (own if crowd else own + other - width * height)


@given(seed=seeds, found=st.integers(0, 6), truth=st.integers(0, 6), integers=st.booleans())
@settings(max_examples=60, deadline=None)
def test_equals_a_plain_loop_and_pycocotools(seed, found, truth, integers):
    rng = np.random.default_rng(seed)
    boxes, gt = random_boxes(rng, found, integers), random_boxes(rng, truth, integers)
    crowd = rng.random(truth) < 0.3
    ious = iou_matrix(boxes, gt, crowd)
    assert ious.shape == (found, truth)
    slow = [[slow_iou(b, g, c) for g, c in zip(gt, crowd, strict=True)] for b in boxes]
    np.testing.assert_allclose(ious, np.reshape(slow, (found, truth)), atol=1e-12)
    if found and truth:
        theirs = mask.iou(xyxy_to_xywh(boxes), xyxy_to_xywh(gt), crowd.astype(np.uint8).tolist())
        np.testing.assert_allclose(ious, theirs, atol=1e-12)


@given(seed=seeds, shift=st.floats(-100, 100), scale=st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_is_symmetric_and_ignores_shift_and_scale(seed, shift, scale):
    rng = np.random.default_rng(seed)
    first, second = random_boxes(rng, 5), random_boxes(rng, 4)
    ious = iou_matrix(first, second)
    np.testing.assert_allclose(ious, iou_matrix(second, first).T, atol=1e-12)
    moved = iou_matrix(first * scale + shift, second * scale + shift)
    np.testing.assert_allclose(ious, moved, atol=1e-9)


def test_known_overlaps():
    box = [[0, 0, 10, 10]]
    assert iou_matrix(box, box)[0, 0] == 1
    assert iou_matrix(box, [[5, 0, 15, 10]])[0, 0] == pytest.approx(1 / 3)
    assert iou_matrix(box, [[10, 0, 20, 10]])[0, 0] == 0, "boxes that touch do not overlap"
    assert iou_matrix([[2, 2, 4, 4]], box, [True])[0, 0] == 1, "inside a crowd region"
    assert iou_matrix([[3, 3, 3, 3]], [[3, 3, 3, 3]])[0, 0] == 0, "a box without area"


def test_formats_and_areas():
    boxes = np.array([[1.0, 2.0, 4.0, 6.0]])
    np.testing.assert_array_equal(xyxy_to_xywh(boxes), [[1, 2, 3, 4]])
    np.testing.assert_array_equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)
    np.testing.assert_array_equal(box_area(boxes), [12])
    assert as_boxes([]).shape == (0, 4)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(N, 4\)"):
        as_boxes(np.zeros((2, 3)))
