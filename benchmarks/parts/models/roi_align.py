"""RoIAlign: 2 images of 640 px, 512 regions each from four levels of 256 channels, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import Tensor

from benchmarks.measure import Candidate, Row, compare
from benchmarks.ofat import SIZE
from smalldet.heads.box_head import FullPrecisionPooler

Pass = Callable[[], Sequence[Tensor]]
IMAGES, REGIONS, CHANNELS, STRIDES = 2, 512, 256, (4, 8, 16, 32)
FORWARD, BACKWARD = 3.0, 4.0  # times Detectron2's pooler, which asks torchvision
TOLERANCE = 1e-5  # of the largest number
LAYOUTS = {"": torch.channels_last, ", NCHW": torch.contiguous_format}  # first: our pyramid's


def rows() -> Iterator[Row]:
    """The pooler of our configs against Detectron2's, forward and backward, by memory format."""
    for name, layout in LAYOUTS.items():
        (forward, backward), (ours, ours_backward) = calls(layout)
        exact, _ = calls(layout, torch.float64)  # in float32 torchvision itself is 2e-5 away
        for wanted, mine in zip(exact, (ours, ours_backward), strict=True):
            for want, got in zip(wanted(), mine(), strict=True):
                assert (got - want).abs().max() <= TOLERANCE * want.abs().max()
        yield from compare(forward, {f"RoIAlign{name}": Candidate(ours, FORWARD)}, rounds=9)
        label = f"RoIAlign{name}, backward"
        yield from compare(backward, {label: Candidate(ours_backward, BACKWARD)}, rounds=9)


def calls(
    layout: torch.memory_format, dtype: torch.dtype = torch.float32
) -> Iterator[tuple[Pass, Pass]]:
    """Forward and backward pass of each pooler; they give lists of tensors."""
    generator = torch.Generator().manual_seed(0)
    sides = [SIZE // stride for stride in STRIDES]
    levels = [torch.randn(IMAGES, CHANNELS, x, x, generator=generator) for x in sides]
    levels = [x.to(dtype, memory_format=layout).requires_grad_() for x in levels]
    boxes = [scattered(generator) for _ in range(IMAGES)]
    weights = torch.randn(IMAGES * REGIONS, CHANNELS, 7, 7, generator=generator)
    for kind in (ROIPooler, FullPrecisionPooler):
        yield _calls_of(kind(7, [1 / x for x in STRIDES], 0, "ROIAlignV2"), levels, boxes, weights)


def _calls_of(
    pooler: ROIPooler, levels: list[Tensor], boxes: list[Boxes], weights: Tensor
) -> tuple[Pass, Pass]:
    bins = pooler(levels, boxes)
    weights = torch.empty_like(bins).copy_(weights)  # in the layout that the bins' gradient has
    return (
        lambda: [pooler(levels, boxes).detach()],
        lambda: torch.autograd.grad(bins, levels, weights, retain_graph=True),
    )


def scattered(generator: torch.Generator) -> Boxes:
    """Boxes of 8 to 256 px, most of them small, within an image."""
    sides = 8 * 32 ** torch.rand(REGIONS, 2, generator=generator)
    corners = torch.rand(REGIONS, 2, generator=generator) * (SIZE - sides)
    return Boxes(torch.cat([corners, corners + sides], dim=1))
