"""Convolutions that see one side only, in both ways of computing them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smalldet.kernels import causal_conv
from smalldet.kernels.causal_conv import ConvWeights, convolve_both_ways

few = settings(max_examples=20, deadline=None, derandomize=True)
needs_kernel = pytest.mark.skipif(not causal_conv.KERNEL.available(), reason="no compiler")


def weights(channels: int, width: int = 4) -> ConvWeights:
    return ConvWeights(torch.randn(channels, 1, width), torch.randn(channels))


def by_definition(x: Tensor, conv: ConvWeights) -> Tensor:
    """out[t] = bias + sum over k of weight[k] * x[t - K + 1 + k]."""
    width = conv.weight.shape[-1]
    out = conv.bias.expand_as(x).clone()
    for t in range(x.shape[1]):
        for k in range(width):
            if t - width + 1 + k >= 0:
                out[:, t] += conv.weight[:, 0, k] * x[:, t - width + 1 + k]
    return out


@few
@given(
    batch=st.integers(1, 2),
    length=st.sampled_from([1, 2, 3, 4, 7, 31, 32, 33, 65]),
    channels=st.sampled_from([1, 5, 16, 35]),
    compiled=st.booleans(),
    halved=st.booleans(),
)
def test_both_ways_are_the_definition(
    batch: int, length: int, channels: int, compiled: bool, halved: bool
) -> None:
    x = torch.randn(batch, length, 2 * channels if halved else channels)[..., :channels]
    ahead, back = weights(channels), weights(channels)
    first, second = convolve_both_ways(x, ahead, back, compiled)
    torch.testing.assert_close(first, F.silu(by_definition(x, ahead)), rtol=1e-4, atol=1e-5)
    want = F.silu(by_definition(x.flip(1), back)).flip(1)
    torch.testing.assert_close(second, want, rtol=1e-4, atol=1e-5)


@needs_kernel
def test_the_kernel_is_taken_where_it_fits_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    compiled = causal_conv._compiled
    monkeypatch.setattr(causal_conv, "_compiled", lambda *args: calls.append(1) or compiled(*args))
    x, ahead, back = torch.randn(1, 9, 6), weights(6), weights(6)
    convolve_both_ways(x, ahead, back, compiled=True)
    assert len(calls) == 1
    learning = ConvWeights(ahead.weight.clone().requires_grad_(), ahead.bias)
    first, _ = convolve_both_ways(x, learning, back, compiled=True)
    assert first.requires_grad
    convolve_both_ways(x.double(), *(ConvWeights(*(p.double() for p in w)) for w in (ahead, back)))
    convolve_both_ways(x, weights(6, width=3), weights(6, width=3), compiled=True)
    convolve_both_ways(x.mT.contiguous().mT, ahead, back, compiled=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        convolve_both_ways(x, ahead, back, compiled=True)
    convolve_both_ways(x, ahead, back)
    assert len(calls) == 1
    with torch.no_grad():
        convolve_both_ways(x, learning, back, compiled=True)
    assert len(calls) == 2


@needs_kernel
def test_nan_and_infinity_stay_where_they_are() -> None:
    x, ahead, back = torch.randn(1, 40, 20), weights(20), weights(20)
    x[0, 10, 3], x[0, 20, 4], x[0, 30, 5] = float("nan"), float("inf"), -float("inf")
    plain = convolve_both_ways(x, ahead, back)
    for got, want in zip(convolve_both_ways(x, ahead, back, compiled=True), plain, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5, equal_nan=True)
