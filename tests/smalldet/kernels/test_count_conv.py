"""Convolutions of sparse counts against those of PyTorch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smalldet.kernels import count_conv
from smalldet.kernels.count_conv import convolve_counts

needs_kernel = pytest.mark.skipif(not count_conv.KERNEL.available(), reason="no compiler")


def sparse(*shape: int, share: float = 0.1) -> Tensor:
    counts = torch.randint(1, 256, shape, dtype=torch.uint8)
    return counts * (torch.rand(shape) < share)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    batch=st.integers(1, 2), channels=st.integers(1, 3), out=st.sampled_from([1, 8, 16, 40]),
    cells=st.tuples(st.integers(1, 6), st.sampled_from([1, 5, 16, 33])),
    factor=st.sampled_from([2, 4, 8]), overlap=st.booleans(), share=st.sampled_from([0, 0.1, 1]),
)  # fmt: skip
def test_they_are_the_ordinary_ones(batch, channels, out, cells, factor, overlap, share):
    torch.manual_seed(0)
    kernel = 2 * factor - 1 if overlap else factor
    weight = torch.randn(out, channels, kernel, kernel, requires_grad=True)
    counts = sparse(batch, channels, *(factor * n for n in cells), share=share)
    want = F.conv2d(counts.float(), weight, stride=factor, padding=kernel - factor)
    for got in (convolve_counts(counts, weight, factor), plain(counts, weight, factor)):
        torch.testing.assert_close(
            got, want, rtol=1e-4, atol=1e-5 * float(want.detach().abs().max())
        )
        slope = torch.cos(want.detach())
        grads = [torch.autograd.grad(x, weight, slope, retain_graph=True)[0] for x in (got, want)]
        size = float(grads[1].abs().max())
        torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5 * size)


plain = count_conv.plain_convolution


@needs_kernel
def test_dense_counts_and_other_types_go_the_plain_way(monkeypatch: pytest.MonkeyPatch):
    calls = []
    compiled = count_conv._compiled
    monkeypatch.setattr(count_conv, "_compiled", lambda *a: calls.append(1) or compiled(*a))
    weight = torch.randn(4, 2, 7, 7)
    convolve_counts(sparse(1, 2, 16, 16), weight, 4)
    assert len(calls) == 1
    convolve_counts(torch.ones(1, 2, 16, 16, dtype=torch.uint8), weight, 4)
    convolve_counts(sparse(1, 2, 16, 16), weight.double(), 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        convolve_counts(sparse(1, 2, 16, 16), weight, 4)
    assert len(calls) == 1


@needs_kernel
def test_digits_do_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    counts, weight = sparse(2, 3, 32, 64), torch.randn(20, 3, 7, 7, requires_grad=True)
    threads, found = torch.get_num_threads(), []
    for number in (1, 3):
        torch.set_num_threads(number)
        out = count_conv._compiled(counts, weight, 4)
        found.append([out, *torch.autograd.grad(out.sin().sum(), weight)])
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
