"""Losses of boxes beyond IoU against their formulas, box by box, and the formats they take."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision import ops

from box_formulas import by_the_formula
from smalldet.losses.iou import (
    KINDS,
    IOULoss,
    ciou_loss,
    complete_box_iou,
    diou_loss,
    distance_box_iou,
    giou_loss,
    iou_loss,
    normalized_wasserstein,
    nwd_loss,
)
from smalldet.losses.size_aware import SizeAwareIOULoss

LIKENESS = [distance_box_iou, complete_box_iou, normalized_wasserstein]
side = st.floats(0.125, 1e4, width=32)
place = st.floats(-1e4, 1e4, width=32)
box = st.tuples(place, place, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


def some_boxes(count: int, seed: int = 0) -> Tensor:
    corner, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed)) * 40
    return torch.cat([corner, corner + size + 0.5], dim=1)


@pytest.mark.parametrize("kind", KINDS)
def test_each_pair_is_as_the_formula_says(kind: str):
    a, b = some_boxes(30), some_boxes(30, seed=1)
    found = IOULoss(kind, "none")(a, b)
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    expected = torch.tensor([by_the_formula(kind, *pair) for pair in pairs])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_another_library_agrees():
    a, b = some_boxes(30), some_boxes(30, seed=1)
    torch.testing.assert_close(diou_loss(a, b), ops.distance_box_iou_loss(a, b))
    torch.testing.assert_close(ciou_loss(a, b), ops.complete_box_iou_loss(a, b))
    a.requires_grad_()
    ours = torch.autograd.grad(ciou_loss(a, b).sum(), a)[0]
    theirs = torch.autograd.grad(ops.complete_box_iou_loss(a, b).sum(), a)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@given(box, box)
def test_bounds_and_symmetry(a: tuple, b: tuple):
    a, b = torch.tensor(a), torch.tensor(b)
    for likeness, least in zip(LIKENESS, (-1.001, -2.001, 0.0), strict=True):
        assert least <= likeness(a, b) <= 1.001
        torch.testing.assert_close(likeness(a, b), likeness(b, a))
    assert complete_box_iou(a, b) <= distance_box_iou(a, b) + 1e-6


@given(box, place, place)
def test_only_sizes_and_distances_count_for_nwd(a: tuple, x: float, y: float):
    """It is the same wherever both lie, and a pixel costs a tiny box as much as a large one."""
    start, move = torch.tensor(a, dtype=torch.float64), torch.tensor([x, y, x, y]).double()
    pixel = torch.tensor([1.0, 0.0, 1.0, 0.0]).double()
    found = normalized_wasserstein(start + move, start + move + pixel, size=5.0)
    assert float(found) == pytest.approx(math.exp(-1 / 5))


@pytest.mark.parametrize("loss", [diou_loss, ciou_loss, nwd_loss])
def test_a_perfect_box_has_no_loss_and_one_apart_is_pulled(loss):
    boxes = some_boxes(6)
    torch.testing.assert_close(loss(boxes, boxes), torch.zeros(6))
    apart = torch.tensor([0.0, 0, 4, 4], requires_grad=True)
    slope = torch.autograd.grad(loss(apart, torch.tensor([8.0, 0, 12, 4])), apart)[0]
    assert slope[0] + slope[2] < 0  # to the right


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [IOULoss, SizeAwareIOULoss])
def test_both_formats_give_the_same(kind: str, make):
    predicted, targets = some_boxes(8), some_boxes(8, seed=1)
    centred = [ops.box_convert(x, "xyxy", "cxcywh") for x in (predicted, targets)]
    in_corners = make(kind=kind, reduction="none")(predicted, targets)
    found = make(kind=kind, reduction="none", box_format="cxcywh")(*centred)
    torch.testing.assert_close(found, in_corners, rtol=1e-4, atol=1e-5)
    assert make(kind=kind, box_format="cxcywh")(centred[0][:0], centred[1][:0]) == 0


def test_the_size_aware_loss_takes_the_place_of_the_plain_one():
    """Large objects weigh 1: with the same arguments both give the same."""
    predicted = torch.tensor([[200.0, 200, 300, 240]])
    targets = torch.tensor([[210.0, 190, 320, 260]])
    for box_format in ("xyxy", "cxcywh"):
        arguments = ("giou",), {"box_format": box_format, "reduction": "sum"}
        plain, weighed = (x(*arguments[0], **arguments[1]) for x in (IOULoss, SizeAwareIOULoss))
        assert torch.equal(plain(predicted, targets), weighed(predicted, targets))


@pytest.mark.parametrize("make", [IOULoss, partial(SizeAwareIOULoss, weight_type="step")])
def test_boxes_of_the_other_format_are_recognised_by_their_sides(make):
    small = torch.tensor([[50.0, 60, 8, 6]])  # cxcywh
    with pytest.raises(ValueError, match="box_format='cxcywh'") as caught:
        make()(small, small)
    assert "[50.0, 60.0, 8.0, 6.0]" in str(caught.value)
    assert torch.isfinite(make(box_format="cxcywh")(small, small))  # what it says
    with pytest.raises(ValueError, match="box_format='xyxy'"):
        make(box_format="cxcywh")(small, torch.tensor([[-9.0, -9, -2, 3]]))
    assert torch.isfinite(make()(small, torch.tensor([[-9.0, -9, -2, 3]])))
    flat = torch.tensor([[4.0, 4, 4, 9]])
    assert make()(flat, flat).isfinite()


def test_what_is_refused():
    for wrong, sentence in [
        ({"kind": "siou"}, "'siou' is unknown; choose one of iou, giou, diou, ciou, nwd"),
        ({"box_format": "xywh"}, "'xywh' is unknown; choose one of xyxy, cxcywh"),
        ({"nwd_size": 0.0}, "nwd_size is 0.0"),
        ({"reduction": "avg"}, "reduction='avg' is unknown"),
    ]:
        for make in (IOULoss, SizeAwareIOULoss):
            with pytest.raises(ValueError, match=sentence):
                make(**wrong)


def test_the_plain_losses_are_what_they_were():
    a, b = some_boxes(9), some_boxes(9, seed=3)
    assert torch.equal(IOULoss("iou", "none")(a, b), iou_loss(a, b))
    assert torch.equal(IOULoss("giou", "none")(a, b), giou_loss(a, b))
    size = IOULoss("nwd", "none", nwd_size=40.0)
    assert torch.equal(size(a, b), nwd_loss(a, b, 40.0))
