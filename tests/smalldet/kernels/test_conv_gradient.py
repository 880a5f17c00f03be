"""Gradients of 3x3 convolutions, against PyTorch's in float64."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smalldet.kernels import conv_gradient
from smalldet.kernels.conv_gradient import conv2d

few = settings(max_examples=30, deadline=None, derandomize=True)


def by_pytorch(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=1)


def differentiated(function, given: list[Tensor], weights: Tensor) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in given]
    out = function(*leaves, *[None] * (3 - len(leaves)))
    return [out.detach(), *torch.autograd.grad(out, leaves, weights.to(out))]


@few
@given(
    images=st.integers(1, 2),
    channels=st.sampled_from([(1, 1), (5, 3), (16, 24)]),
    shape=st.sampled_from([(1, 1), (2, 9), (7, 7), (24, 20), (70, 66)]),
    learning=st.sampled_from([0.0, 0.01, 0.2, 0.3, 1.0]),
    has_bias=st.booleans(),
    last=st.booleans(),
    large=st.sampled_from([0, conv_gradient.LARGE]),
)
def test_all_gradients_are_those_of_float64(
    images: int,
    channels: tuple[int, int],
    shape: tuple[int, int],
    learning: float,
    has_bias: bool,
    last: bool,
    large: int,
) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(images, channels[0], *shape).contiguous(memory_format=layout)
    given = [x, torch.randn(channels[1], channels[0], 3, 3), *[torch.randn(channels[1])] * has_bias]
    weights = torch.randn(images, channels[1], *shape)
    weights *= torch.rand(images, 1, *shape) < learning  # cells without a gradient
    with patch.object(conv_gradient, "LARGE", large):
        found = differentiated(conv2d, given, weights)
    exact = differentiated(by_pytorch, [t.double() for t in given], weights)
    sizes = differentiated(by_pytorch, [t.double().abs() for t in given], weights.abs())
    for got, want, size in zip(found, exact, sizes, strict=True):
        bound = 1e-6 * float(size.max())  # of the terms, which may cancel
        torch.testing.assert_close(got.double(), want, rtol=0, atol=bound)


@pytest.mark.parametrize("learning", [0.05, 1.0])
def test_what_is_frozen_gets_no_gradient_and_the_rest_does(learning: float) -> None:
    given = torch.randn(1, 4, 30, 30), torch.randn(4, 4, 3, 3), torch.randn(4)
    grad = torch.randn(1, 4, 30, 30) * (torch.rand(1, 1, 30, 30) < learning)
    all_of_them = differentiated(conv2d, list(given), grad)[1:]
    for index in range(3):
        leaves = [t.detach().clone().requires_grad_(i == index) for i, t in enumerate(given)]
        conv2d(*leaves).backward(grad)
        assert [leaf.grad is not None for leaf in leaves] == [i == index for i in range(3)]
        torch.testing.assert_close(leaves[index].grad, all_of_them[index])


def test_a_gradient_that_is_no_number_is_not_skipped() -> None:
    x, weight = torch.randn(1, 2, 9, 9), torch.randn(2, 2, 3, 3)
    grad = torch.zeros(1, 2, 9, 9)
    grad[0, 1, 4, 4] = float("nan")
    _, grad_x, grad_weight = differentiated(conv2d, [x, weight], grad)
    assert grad_x.isnan()[..., 3:6, 3:6].all() and grad_x.isnan().sum() == 2 * 9
    assert grad_weight[1].isnan().all()


def test_float32_on_a_cpu_with_gradients_is_what_fits() -> None:
    x, weight = torch.ones(1, 2, 4, 4), torch.ones(3, 2, 3, 3, requires_grad=True)
    assert conv_gradient.fits(x, weight)
    assert not conv_gradient.fits(x.double(), weight.double())
    assert not conv_gradient.fits(x[:0], weight)
    assert not conv_gradient.fits(x, weight[..., :1, :1])
    with torch.no_grad():
        assert not conv_gradient.fits(x, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not conv_gradient.fits(x, weight)
