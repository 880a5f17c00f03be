"""Kernels without a backward pass against PyTorch in float64: any shape, threads, modes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smalldet.kernels import feed_forward, group_attention, lstm_update, winograd
from smalldet.kernels.inference import infers_on_cpu
from smalldet.kernels.lstm_update import plain_update

MODULES = (feed_forward, group_attention, lstm_update, winograd)
pytestmark = pytest.mark.skipif(
    not all(module.KERNEL.available() for module in MODULES), reason="no compiler"
)
some = settings(deadline=None, max_examples=25, derandomize=True)


def near(got: Tensor, want: Tensor) -> None:
    size = float(want.abs().max())
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-5 * size)


@some
@given(
    batch=st.integers(1, 2), size=st.tuples(st.integers(1, 9), st.integers(1, 26)),
    narrow=st.sampled_from([16, 48]), out=st.sampled_from([16, 48, 64]), silu=st.booleans(),
    bias=st.booleans(),
)  # fmt: skip
def test_winograd_is_the_ordinary_convolution(batch, size, narrow, out, silu, bias):
    torch.manual_seed(0)
    x, weight = torch.randn(batch, narrow, *size), torch.randn(out, narrow, 3, 3)
    shift = torch.randn(out) if bias else None
    assert winograd.fits_kernel(x, weight, (1, 1), (1, 1))
    want = F.conv2d(x.double(), weight.double(), shift if shift is None else shift.double(), 1, 1)
    # SiLU of sums this large is the sum or 0 nearly everywhere.
    scale = want.abs().max() / 5
    packed, scaled = winograd.pack(weight / scale), None if shift is None else shift / scale.float()
    got = winograd.convolve(x, packed, out, scaled, silu)
    near(got, F.silu(want / scale) if silu else want / scale)
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_winograd_is_for_3x3_without_strides_or_groups():
    x = torch.randn(1, 32, 8, 8)
    for weight, stride in (((32, 32, 3, 3), 2), ((32, 16, 3, 3), 1), ((32, 32, 1, 1), 1)):
        assert not winograd.fits_kernel(x, torch.randn(weight), (stride, stride), (1, 1))
    assert not winograd.fits_kernel(x, torch.randn(24, 32, 3, 3), (1, 1), (1, 1))


@some
@given(
    rows=st.sampled_from([1, 5, 6, 119, 121, 250]), width=st.sampled_from([16, 48, 80]),
    hidden=st.sampled_from([1, 7, 64, 255, 300, 513]),
)  # fmt: skip
def test_any_feed_forward_layer(rows: int, width: int, hidden: int):
    weights = feed_forward._random_weights(width, hidden)
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(9))
    assert feed_forward.fits_kernel(x, *weights)
    got = feed_forward.add_feed_forward(x, feed_forward.pack(*weights))
    near(got, feed_forward.plain_feed_forward(x.double(), *(w.double() for w in weights)))


@some
@given(
    channels=st.sampled_from([1, 3]), cells=st.tuples(st.integers(1, 3), st.integers(1, 50)),
    batch=st.integers(1, 2),
)  # fmt: skip
def test_a_step_of_an_lstm(channels: int, cells: tuple[int, int], batch: int):
    torch.manual_seed(0)
    width = channels * lstm_update.KERNEL.library.panel()
    x, hidden, cell = (torch.randn(batch, width, *cells) for _ in range(3))
    weight, bias = torch.randn(4 * width, 2 * width, 1, 1) / width**0.5, torch.randn(4 * width)
    assert lstm_update.fits_step(x, hidden, cell, weight, bias)
    both = torch.cat([x, hidden], dim=1).double()
    want = plain_update(F.conv2d(both, weight.double(), bias.double()), cell.double())
    for got, expected in zip(
        lstm_update.step(x, hidden, cell, lstm_update.pack(weight), bias), want, strict=True
    ):
        near(got, expected)


@some
@given(
    heads=st.sampled_from([(1, 32), (2, 24), (4, 8), (16, 1)]),
    size=st.sampled_from([(2, 3), (6, 10), (1, 1)]),
    groups=st.tuples(st.integers(1, 2), st.integers(1, 3)), grid=st.booleans(),
    normed=st.booleans(),
)  # fmt: skip
def test_an_attention_half(heads, size, groups, grid, normed):
    torch.manual_seed(0)
    number, dim = heads
    width = number * dim
    shapes = [(3 * width, width), (3 * width,), (width, width), *[(width,)] * 4]
    weights = [torch.randn(shape) / shape[-1] ** (len(shape) > 1) for shape in shapes]
    weights = weights if normed else weights[:5]
    x = torch.randn(2, size[0] * groups[0], size[1] * groups[1], width)
    got = group_attention.add_attention(x, group_attention.pack(*weights), number, size, grid)
    wide = group_attention.AttentionWeights(*(w.double() for w in weights))
    y = x.double()
    if normed:
        y = F.layer_norm(y, (width,), wide.norm, wide.norm_bias)
    qkv = F.linear(y, wide.qkv, wide.qkv_bias).unflatten(-1, (number, 3, dim)).float()
    y = group_attention.attend_in_groups(qkv, size, grid).double()
    near(got, x.double() + wide.gain * F.linear(y, wide.proj, wide.proj_bias))


def test_digits_do_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    x, weight = torch.randn(1, 64, 13, 40), torch.randn(64, 64, 3, 3)
    rows, weights = torch.randn(500, 48), feed_forward._random_weights(48, 192)
    threads, found = torch.get_num_threads(), []
    for number in (1, 3):
        torch.set_num_threads(number)
        found.append(
            [
                winograd.convolve(x, winograd.pack(weight), 64, None, True),
                feed_forward.add_feed_forward(rows, feed_forward.pack(*weights)),
            ]
        )
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_none_is_taken_where_something_is_to_follow():
    x, weight = torch.randn(2, 5), torch.randn(3, 5, requires_grad=True)
    assert infers_on_cpu(x, None) and not infers_on_cpu(x, weight)
    assert not infers_on_cpu(x.double())
    with torch.no_grad():
        assert infers_on_cpu(x, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not infers_on_cpu(x)
