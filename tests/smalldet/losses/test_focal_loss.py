"""Focal loss by its limits, with torchvision as the oracle."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

from smalldet.losses.focal import FocalLoss, sigmoid_focal_loss


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
def test_equals_torchvision(alpha: float | None, gamma: float):
    logits, targets = random_terms()
    theirs = torchvision_focal_loss(logits, targets, -1 if alpha is None else alpha, gamma)
    torch.testing.assert_close(sigmoid_focal_loss(logits, targets, alpha, gamma), theirs)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_gradients_are_finite_with_extreme_logits(gamma: float, target: float):
    logits = torch.tensor([-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4], requires_grad=True)
    losses = sigmoid_focal_loss(logits, torch.full((7,), target), gamma=gamma)
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad.isfinite().all()


def test_module():
    logits, targets = random_terms()
    each = sigmoid_focal_loss(logits, targets, 0.25, 2.0)
    assert torch.equal(FocalLoss(reduction="none")(logits, targets), each)
    torch.testing.assert_close(FocalLoss()(logits, targets), each.mean())
    assert FocalLoss()(logits[:0], targets[:0]) == 0
    for wrong in ({"gamma": -1.0}, {"alpha": 1.5}, {"reduction": "max"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
            FocalLoss(**wrong)
