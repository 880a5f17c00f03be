"""3x3 convolutions by Winograd's algorithm as a C++ kernel, ``csrc/winograd.cpp``: inference only.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016, arXiv 1509.09308. It takes
4 products a cell instead of 9, so it is quicker than any library where arithmetic is what takes
time. Shape shorthand: B batch, I, O channels in and out, (H, W) map.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from nativecode import CheckedKernel
from smalldet.kernels.comparison import agree, normal
from smalldet.kernels.product import in_panels

Pair = tuple[int, int]
CHANNELS = 16  # both numbers of channels are multiples of it: whole vectors, and enough of them


def fits_kernel(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> bool:
    """Whether :func:`convolve` takes ``x`` (B, I, H, W) and ``weight`` (O, I / groups, k, k) here.

    Both are float32 on a CPU and need no gradients.
    """
    out, narrow, *side = weight.shape
    plain = (x.shape[1], *side, *stride, *padding) == (narrow, 3, 3, 1, 1, 1, 1)
    return plain and out % CHANNELS == 0 and narrow % CHANNELS == 0 and KERNEL.available()


def pack(weight: Tensor) -> Tensor:
    """``weight`` (O, I, 3, 3) as :func:`convolve` wants it."""
    half = weight.new_tensor([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
    points = torch.einsum("ya,oiab,xb->yxoi", half, weight.detach(), half)
    return in_panels(points.flatten(0, 1), KERNEL.library.panel())


def convolve(x: Tensor, packed: Tensor, out: int, bias: Tensor | None, silu: bool) -> Tensor:
    """``F.conv2d`` of ``x`` (B, I, H, W) with padding 1, then SiLU if wanted: (B, O, H, W).

    ``out`` is O: packed weights are filled up to whole panels. The result has the channels of a
    pixel together in memory.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    batch, narrow, height, width = x.shape
    y = x.new_empty(batch, height, width, out)
    sizes = (batch, height, width, narrow, out, packed.shape[1] * packed.shape[3])
    pointers = (None if t is None else t.data_ptr() for t in (x, packed, bias, y))
    KERNEL.call("convolve", *sizes, silu, torch.get_num_threads(), *pointers)  # struct Convolution
    return y.permute(0, 3, 1, 2)


def _agrees() -> bool:
    x, weight, bias = normal(2, 16, 9, 12), normal(48, 16, 3, 3, seed=1), normal(48, seed=2)
    got = [convolve(x, pack(weight), 48, *how) for how in ((None, False), (bias, True))]
    want = [F.conv2d(x, weight, shift, padding=1) for shift in (None, bias)]
    return agree(got, [want[0], F.silu(want[1])])


KERNEL = CheckedKernel(
    "compiled 3x3 convolution", _agrees, Path(__file__).with_name("csrc") / "winograd.cpp"
)
