"""RoIAlign on the levels of a pyramid as a C++ kernel, ``csrc/roi_align.cpp``.

He et al., Mask R-CNN, 2017, arXiv 1703.06870, section 3. Shape shorthand: M regions, B images, C
channels, (P, Q) bins of a region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torchvision.ops import RoIAlign

from nativecode import CheckedKernel
from smalldet.kernels.comparison import agree, normal, with_gradients


class Sampling(NamedTuple):
    """How regions are read; the arguments of ``torchvision.ops.RoIAlign``."""

    bins: tuple[int, int]  # (P, Q), rows and columns
    scales: tuple[float, ...]  # cells of each level in a pixel
    ratio: int  # samples along each side of a bin; 0: one a cell at least
    aligned: bool  # whether the middle of cell 0 is half a cell inside the image, or at 0


def fits_kernel(features: Sequence[Tensor]) -> bool:
    """Whether regions of such maps can be read by :func:`align_regions` here."""
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    plain = all(x.device.type == "cpu" and x.dtype == torch.float32 for x in features)
    return plain and KERNEL.available()


def align_regions(
    features: Sequence[Tensor], regions: Tensor, levels: Tensor, how: Sampling
) -> Tensor:
    """Each region's bins: the means of bilinear samples of its level.

    The same numbers with any number of threads, gradients too; these are those of the features.
    The samples' places are computed in float64.

    Args:
        features: (B, C, h, w) float32 of each level; without a copy, if the channels of a cell
            stand together in memory.
        regions: (M, 5) index of the image, then the box (xyxy_abs, px of the network's input).
        levels: (M,) index of each region's level.
        how: bins and samples.

    Returns:
        (M, C, P, Q), in memory channels last.
    """
    scale = torch.tensor(how.scales, dtype=torch.float64)[levels, None]
    low, high = (regions[:, 1:].detach().double() * scale - 0.5 * how.aligned).split(2, dim=1)
    size = high - low if how.aligned else (high - low).clamp(min=1)
    boxes = torch.cat([low, size], dim=1)
    return _Align.apply(how, boxes, regions[:, 0].long(), levels.contiguous(), *features)


def _agrees() -> bool:
    regions = torch.tensor([[1, -9, 3, 20.2, 31], [0, 8, 9, 21.5, 64], [1, 5, 11, 5.5, 14]])
    levels = torch.tensor([1, 0, 0])
    how = Sampling((3, 2), (1 / 2, 1 / 4), 0, aligned=True)

    def by_torchvision(*features: Tensor) -> Tensor:
        parts = [
            RoIAlign(how.bins, how.scales[level], *how[2:])(features[level], regions[i : i + 1])
            for i, level in enumerate(levels.tolist())
        ]
        return torch.cat(parts)

    def compiled(*features: Tensor) -> Tensor:
        return align_regions(features, regions, levels, how)

    maps = normal(2, 19, 21, 15), normal(2, 19, 11, 8, seed=1)
    return agree(with_gradients(compiled, *maps), with_gradients(by_torchvision, *maps))


KERNEL = CheckedKernel(
    "compiled RoIAlign", _agrees, Path(__file__).with_name("csrc") / "roi_align.cpp"
)


class _Align(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, how: Sampling, boxes: Tensor, images: Tensor, levels: Tensor, *features: Tensor
    ) -> Tensor:
        """(R, C, h, w) of the boxes (R, 4), each from its image and level of ``features``."""
        ctx.how, ctx.shapes = how, [x.shape for x in features]
        ctx.save_for_backward(boxes, images, levels)
        bins = _in_cells(torch.empty, (len(boxes), features[0].shape[1], *how.bins))
        maps = [x.contiguous(memory_format=torch.channels_last) for x in features]
        _call("align", how, (boxes, images, levels, bins), maps)
        return bins

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = [_in_cells(torch.zeros, shape) for shape in ctx.shapes]
        grad = grad.contiguous(memory_format=torch.channels_last)
        _call("align_backward", ctx.how, (*ctx.saved_tensors, grad), grads)
        return (None, None, None, None, *grads)


def _in_cells(make: Callable[..., Tensor], shape: Sequence[int]) -> Tensor:
    """A tensor (B, C, h, w) with the channels of a cell together in memory."""
    batch, channels, *sides = shape
    return make(batch, *sides, channels).permute(0, 3, 1, 2)


def _call(function: str, how: Sampling, given: tuple[Tensor, ...], maps: Sequence[Tensor]) -> None:
    """``given`` are boxes, indices of images and levels, and bins or their gradients."""
    sizes = (len(given[0]), *maps[0].shape[:2], *how.bins, how.ratio, torch.get_num_threads())
    pointers = [x.data_ptr() for x in given]
    fields = [field for x in maps for field in (*x.shape[2:], x.data_ptr())]  # struct Map
    KERNEL.call(function, *sizes, *pointers, *fields)  # struct Regions
