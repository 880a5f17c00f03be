"""Size weights by their definition, and that weight 1 is the plain loss."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from smalldet.losses.focal import sigmoid_focal_loss
from smalldet.losses.iou import box_area, iou_loss
from smalldet.losses.size_aware import (
    WEIGHT_TYPES,
    SizeAwareFocalLoss,
    SizeAwareIOULoss,
    SizeAwareLossWrapper,
    compute_size_weights,
)


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


def test_what_is_refused():
    areas = torch.ones(2)
    for wrong, sentence in [
        ({"size_aware_weight": 0.5}, "give at least 1"),
        ({"small_threshold": 0.0}, "the first above 0"),
        ({"small_threshold": 9216.0}, "below the second"),
        ({"weight_type": "cubic"}, "choose one of exponential, step, linear"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            compute_size_weights(areas, **wrong)
        with pytest.raises(ValueError, match=sentence):
            SizeAwareIOULoss(**wrong)
    with pytest.raises(ValueError, match="a row an object"):
        SizeAwareLossWrapper(nn.L1Loss())(areas, areas, areas)
