"""Losses of boxes, classes and sizes: limits, hostile numbers, torchvision as the oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision import ops
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

from smalldet.losses.focal import FocalLoss, sigmoid_focal_loss
from smalldet.losses.iou import (
    IOULoss,
    box_area,
    box_iou,
    ciou_loss,
    diou_loss,
    generalized_box_iou,
    giou_loss,
    iou_loss,
    nwd_loss,
)
from smalldet.losses.size_aware import (
    WEIGHT_TYPES,
    SizeAwareFocalLoss,
    SizeAwareIOULoss,
    SizeAwareLossWrapper,
    compute_size_weights,
    proposed_thresholds,
)

number = st.floats(-1e4, 1e4, width=32)
box = st.tuples(number, number, number, number)


def some_boxes(count: int, seed: int = 0) -> torch.Tensor:
    corner, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed)) * 50
    return torch.cat([corner, corner + size + 0.5], dim=1)


def test_all_pairs_equal_torchvision():
    a, b = some_boxes(7), some_boxes(5, seed=1)
    torch.testing.assert_close(box_iou(a[:, None], b), ops.box_iou(a, b))
    expected = ops.generalized_box_iou(a, b)
    torch.testing.assert_close(generalized_box_iou(a[:, None], b), expected)
    torch.testing.assert_close(box_area(a), ops.box_area(a))


@given(box, box)
def test_bounds_and_symmetry_with_any_corners(a: tuple, b: tuple):
    a, b = torch.tensor(a), torch.tensor(b)
    iou, giou = box_iou(a, b), generalized_box_iou(a, b)
    assert 0 <= iou <= 1.001 and -1.001 <= giou <= 1.001
    assert iou == box_iou(b, a) and giou == generalized_box_iou(b, a)


def test_by_hand():
    a, b = torch.tensor([0.0, 0, 4, 4]), torch.tensor([2.0, 0, 6, 4])
    assert iou_loss(a, b) == pytest.approx(1 - (8 / 24) ** 2)
    far = torch.tensor([8.0, 0, 12, 4])
    assert generalized_box_iou(a, far) == pytest.approx(-(48 - 32) / 48)
    a.requires_grad_()  # only GIoU pulls boxes that do not touch
    assert not torch.autograd.grad(iou_loss(a, far), a)[0].any()
    assert torch.autograd.grad(giou_loss(a, far), a)[0][2] < 0


def test_a_perfect_box_has_no_loss_and_a_distant_one_all_of_it():
    boxes = some_boxes(6)
    for loss in (iou_loss, giou_loss):
        torch.testing.assert_close(loss(boxes, boxes), torch.zeros(6))
    assert torch.equal(iou_loss(boxes, boxes + 1000), torch.ones(6))
    assert (giou_loss(boxes, boxes + 1e6) > 1.9).all()


@pytest.mark.parametrize("loss", [iou_loss, giou_loss, diou_loss, ciou_loss, nwd_loss])
@pytest.mark.parametrize(
    "target",
    [[5.0, 5, 6, 6], [5.0, 5, 5, 5], [5.2, 5.2, 5.2, 5.2], [7.0, 7, 3, 3], [0.0, 0, 1e9, 1e9]],
)
@pytest.mark.parametrize("side", [0.0, 1e-6, 1.0, 1e9])
def test_gradients_are_finite(loss, target: list[float], side: float):
    boxes = torch.tensor([[5.2, 5.2, 5.2 + side, 5.2 + side]], requires_grad=True)
    value = loss(boxes, torch.tensor([target]))
    value.sum().backward()
    assert value.isfinite().all() and boxes.grad.isfinite().all()


def test_iou_module_and_reductions():
    a, b = some_boxes(4), some_boxes(4, seed=2)
    each = IOULoss("giou", "none")(a, b)
    assert torch.equal(each, giou_loss(a, b))
    torch.testing.assert_close(IOULoss("giou", "mean")(a, b), each.mean())
    torch.testing.assert_close(IOULoss("iou", "sum")(a, b), iou_loss(a, b).sum())
    assert IOULoss()(a[:0], b[:0]) == 0


def random_terms() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(40, 3, generator=generator)
    return logits, torch.randint(0, 2, (40, 3), generator=generator).float()


def test_gamma_0_is_the_cross_entropy_bit_for_bit():
    logits, targets = random_terms()
    expected = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    assert torch.equal(sigmoid_focal_loss(logits, targets, alpha=None, gamma=0.0), expected)
    half = sigmoid_focal_loss(logits, targets, alpha=0.5, gamma=0.0)
    assert torch.equal(half, expected / 2)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (None, 1.0), (0.75, 0.5)])
def test_focal_loss_equals_torchvision(alpha: float | None, gamma: float):
    logits, targets = random_terms()
    theirs = torchvision_focal_loss(logits, targets, -1 if alpha is None else alpha, gamma)
    torch.testing.assert_close(sigmoid_focal_loss(logits, targets, alpha, gamma), theirs)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_focal_gradients_are_finite_with_extreme_logits(gamma: float, target: float):
    logits = torch.tensor([-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4], requires_grad=True)
    losses = sigmoid_focal_loss(logits, torch.full((7,), target), gamma=gamma)
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad.isfinite().all()


def test_focal_module():
    logits, targets = random_terms()
    each = sigmoid_focal_loss(logits, targets, 0.25, 2.0)
    assert torch.equal(FocalLoss(reduction="none")(logits, targets), each)
    torch.testing.assert_close(FocalLoss()(logits, targets), each.mean())
    assert FocalLoss()(logits[:0], targets[:0]) == 0
    for wrong in ({"gamma": -1.0}, {"alpha": 1.5}, {"reduction": "max"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
            FocalLoss(**wrong)


def weights_of(sides: list[float], **chosen: object) -> list[float]:
    return compute_size_weights(torch.tensor(sides) ** 2, **chosen).tolist()


def boxes_of(sides: list[float]) -> torch.Tensor:
    return torch.tensor([[10.0, 10.0, 10.0 + side, 10.0 + side] for side in sides])


def test_the_declared_values_at_weight_2_5():
    found = weights_of([16.0, 32.0, 96.0, 1000.0], size_aware_weight=2.5)
    assert found == pytest.approx([1.947, 1.0, 1.0, 1.0], abs=5e-4)
    assert found[0] == pytest.approx(2.5 * math.exp(-0.25))
    assert found[1:] == [1.0, 1.0, 1.0]


def test_step_and_linear():
    just_below = math.sqrt(1023.9)
    found = weights_of([1.0, just_below, 32.0, 95.9, 96.0, 500.0], weight_type="step")
    assert found == [2.0, 2.0, 1.5, 1.5, 1.0, 1.0]
    areas = torch.tensor([0.0, 1024.0, (1024 + 9216) / 2, 9216.0, 1e6])
    found = compute_size_weights(areas, 3.0, weight_type="linear")
    assert found.tolist() == [3.0, 3.0, 2.0, 1.0, 1.0]


@given(
    st.lists(st.floats(-10, 2**40, width=32), min_size=2, max_size=20),
    st.floats(1, 10, width=32),
    st.sampled_from(WEIGHT_TYPES),
    st.floats(1, 1000, width=32),
    st.floats(1.5, 50, width=32),
)
def test_smaller_never_weighs_less_and_all_lie_between_1_and_w(areas, w, kind, small, ratio):
    areas = torch.tensor(areas).sort().values
    found = compute_size_weights(areas, w, small, small * ratio, kind)
    assert (found.diff() <= 0).all()
    assert (found >= 1).all() and (found <= w).all()


@pytest.mark.parametrize("kind", WEIGHT_TYPES)
def test_weight_1_equals_the_plain_losses_bit_for_bit(kind: str):
    generator = torch.Generator().manual_seed(0)
    targets = boxes_of([1.0, 8.0, 40.0, 200.0])
    predicted = (targets + torch.rand(4, 4, generator=generator)).requires_grad_()
    plain = iou_loss(predicted, targets)
    weighted = SizeAwareIOULoss(size_aware_weight=1.0, weight_type=kind, reduction="none")
    assert torch.equal(weighted(predicted, targets), plain)
    logits = torch.randn(4, 3, generator=generator)
    one_hot = torch.eye(4, 3)
    focal = SizeAwareFocalLoss(size_aware_weight=1.0, weight_type=kind, reduction="none")
    expected = sigmoid_focal_loss(logits, one_hot)
    assert torch.equal(focal(logits, one_hot, box_area(targets)), expected)


def test_losses_are_weighted_and_divided_by_their_number():
    targets = boxes_of([4.0, 16.0, 300.0])
    predicted = targets + 1
    weights = compute_size_weights(box_area(targets), 2.5)
    expected = iou_loss(predicted, targets) * weights
    loss = SizeAwareIOULoss(size_aware_weight=2.5)
    torch.testing.assert_close(loss(predicted, targets), expected.sum() / 3)
    # Areas may be those of the whole object where the target is a clipped part of it.
    given_areas = loss(predicted, targets, torch.full((3,), 1e6))
    torch.testing.assert_close(given_areas, iou_loss(predicted, targets).mean())
    logits, one_hot = torch.randn(3, 5), torch.eye(3, 5)
    focal = SizeAwareFocalLoss(gamma=1.0, size_aware_weight=2.5, reduction="sum")
    rows = sigmoid_focal_loss(logits, one_hot, gamma=1.0) * weights[:, None]
    torch.testing.assert_close(focal(logits, one_hot, box_area(targets)), rows.sum())


@pytest.mark.parametrize("kind", WEIGHT_TYPES)
@pytest.mark.parametrize("side", [0.0, 1.0])
def test_gradient_is_finite_at_a_pixel(kind: str, side: float):
    predicted = boxes_of([side]).requires_grad_()
    loss = SizeAwareIOULoss(weight_type=kind)(predicted, boxes_of([1.0]) + 0.25)
    loss.backward()
    assert loss.isfinite() and predicted.grad.isfinite().all()


def test_no_objects_and_any_loss():
    wrapped = SizeAwareLossWrapper(nn.L1Loss(reduction="none"))
    assert wrapped(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0)) == 0
    found = wrapped(torch.ones(2, 4), torch.zeros(2, 4), torch.tensor([0.0, 1e9]))
    assert found == pytest.approx(1.5)


@pytest.mark.parametrize("kind", WEIGHT_TYPES)
@pytest.mark.parametrize("weight", [1.2, 2.0, 2.5])
def test_proposed_thresholds_leave_the_largest_third_at_1(kind: str, weight: float):
    areas = torch.from_numpy(np.random.default_rng(0).lognormal(6, 1, 3000))
    terciles = tuple(areas.quantile(torch.tensor([1 / 3, 2 / 3]).double()).tolist())
    found = proposed_thresholds(terciles, weight, kind)
    assert ("medium_threshold" in found) is (kind != "exponential")
    weights = compute_size_weights(areas, weight, weight_type=kind, **found)
    assert float((weights > 1).double().mean()) == pytest.approx(2 / 3, abs=0.01)


def test_exponential_weights_have_no_medium_threshold():
    areas = torch.linspace(0, 5000, 100)
    for medium in (1.0, 500.0, 1e9):
        found = compute_size_weights(areas, 2.0, 1500.0, medium, "exponential")
        assert torch.equal(found, compute_size_weights(areas, 2.0, 1500.0))


def test_what_is_refused():
    with pytest.raises(ValueError, match="above 1 alone"):
        proposed_thresholds((10, 20), 1.0)
    areas = torch.ones(2)
    for wrong, sentence in [
        ({"size_aware_weight": 0.5}, "give at least 1"),
        ({"small_threshold": 0.0}, "the first above 0"),
        ({"small_threshold": 9216.0, "weight_type": "step"}, "below the second"),
        ({"weight_type": "cubic"}, "choose one of exponential, step, linear"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            compute_size_weights(areas, **wrong)
        with pytest.raises(ValueError, match=sentence):
            SizeAwareIOULoss(**wrong)
    with pytest.raises(ValueError, match="a row an object"):
        SizeAwareLossWrapper(nn.L1Loss())(areas, areas, areas)
