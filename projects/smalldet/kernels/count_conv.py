"""Strided convolutions of small integers, such as an event camera's counts, most of which are 0.

The C++ kernel, ``csrc/count_conv.cpp``, multiplies only those that are not, and keeps nothing but
the counts for the backward pass. Shape shorthand: B batch, C channels of the counts, (H, W) their
map, O channels of the result, k side of the kernel in cells.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nativecode import CheckedKernel
from smalldet.kernels.comparison import agree, normal, with_gradients

DENSEST = 1 / 8  # share of counts that are not 0, beyond which the plain way is quicker
SAMPLE = 8  # every such row tells of the share
LANES = 16  # channels of the result are filled up to a multiple of it: whole vectors everywhere

_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by their bytes


def convolve_counts(counts: Tensor, weight: Tensor, factor: int) -> Tensor:
    """``F.conv2d(counts, weight, stride=factor, padding=k - factor)`` of small integers.

    Args:
        counts: (B, C, H, W) uint8, W a multiple of ``factor``.
        weight: (O, C, k, k), k being ``factor`` or 2 * ``factor`` - 1.
        factor: 2, 4 or 8.
    """
    if _fits_kernel(weight) and KERNEL.available() and _sparse(counts):
        return _compiled(counts, weight, factor)
    return plain_convolution(counts, weight, factor)


def plain_convolution(counts: Tensor, weight: Tensor, factor: int) -> Tensor:
    """As :func:`convolve_counts`, in PyTorch.

    ``factor`` neighbouring columns are read as one word, so that one copy of whole words brings
    the channels together and turns columns into channels. The same convolution then has
    ``factor`` times as many channels and no stride across, which runs several times as fast.
    """
    kernel = weight.shape[-1]
    padding = kernel - factor
    extra = -kernel % factor  # empty columns that make the kernel one of whole words
    words = F.pad(counts, (padding + extra, 0)).view(_WORDS[factor])
    cells = words.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
    cells = cells.view(torch.uint8).to(weight.dtype).permute(0, 3, 1, 2)
    kernels = F.pad(weight, (extra, 0)).unflatten(3, (-1, factor))
    kernels = kernels.permute(0, 1, 4, 2, 3).flatten(1, 2)  # (O, C * factor, k, 1 or 2)
    kernels = kernels.contiguous()  # PyTorch's backward pass on one thread wants it so
    return F.conv2d(cells, kernels, stride=(factor, 1), padding=(padding, 0))


def _sparse(counts: Tensor) -> bool:
    rows = counts[:, :, ::SAMPLE]
    return int(torch.count_nonzero(rows)) <= DENSEST * rows.numel()


def _fits_kernel(weight: Tensor) -> bool:
    if torch.is_autocast_enabled("cpu") or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return weight.device.type == "cpu" and weight.dtype == torch.float32


def _compiled(counts: Tensor, weight: Tensor, factor: int) -> Tensor:
    # Tap t is that of place p and cell c where p = factor * c + t; see the C++ file for the order.
    extra = 2 * factor - weight.shape[-1]
    taps = F.pad(weight.permute(1, 2, 3, 0), (0, -len(weight) % LANES, 0, extra))
    taps = taps.unflatten(2, (2, factor)).flip(2).transpose(2, 3)  # (C, k, factor, 2, O or more)
    out = _Convolution.apply(counts.contiguous(), taps.contiguous(), factor)
    return out[:, :, 1:-1, : len(weight)].permute(0, 3, 1, 2)


def _agrees() -> bool:
    counts = (normal(2, 3, 12, 40) - 1).clamp(min=0).mul(9).to(torch.uint8)
    weight = normal(19, 3, 7, 7, seed=1)
    ways = (_compiled, plain_convolution)
    got, want = (with_gradients(lambda w, way=way: way(counts, w, 4), weight) for way in ways)
    return agree(got, want)


KERNEL = CheckedKernel(
    "compiled convolution of counts", _agrees, Path(__file__).with_name("csrc") / "count_conv.cpp"
)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, counts: Tensor, taps: Tensor, factor: int) -> Tensor:
        kernel = taps.shape[1]
        tall, wide = ((side + kernel - 2 * factor) // factor + 1 for side in counts.shape[-2:])
        out = taps.new_empty(len(counts), tall, wide + 2, taps.shape[-1])
        ctx.save_for_backward(counts)
        ctx.shape = taps.shape
        _call("convolve", counts, out, taps)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        (counts,) = ctx.saved_tensors
        grad_taps = grad.new_empty(ctx.shape)
        _call("convolve_backward", counts, grad.contiguous(), grad_taps)
        return None, grad_taps, None


def _call(function: str, counts: Tensor, out: Tensor, taps: Tensor) -> None:
    """``out`` and ``taps`` are the gradients in the backward pass."""
    _, kernel, factor, _, _ = taps.shape
    sizes = (*counts.shape, *out.shape[1:], kernel, factor, kernel - factor)
    pointers = (x.data_ptr() for x in (counts, out, taps))
    KERNEL.call(function, *sizes, torch.get_num_threads(), *pointers)  # struct Convolution
