"""The grid cells that a YOLOX head predicts on, and how their outputs become boxes.

Ge et al., YOLOX, 2021, arXiv 2107.08430: one prediction a cell, no anchor boxes. A level of stride
s has a cell every s px; cells are ordered level by level from the finest, row by row within one.
Shape shorthand: A cells over all levels. All is made anew from the shapes of each call, so nothing
can be left over from another input size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# exp() of more would be a side of billions of px; the bound keeps areas finite in float32.
MAX_LOG_SIZE = 20.0


class Level(NamedTuple):
    """Cells of one level, in rows and columns; the stride is in px."""

    rows: int
    columns: int
    stride: int


@dataclass(frozen=True)
class Cells:
    """Where A cells lie.

    Attributes:
        levels: of which they are, finest first.
        indices: (A, 2) float32, column and row within the level.
        strides: (A,) float32, px.
    """

    levels: tuple[Level, ...]
    indices: Tensor
    strides: Tensor

    def __len__(self) -> int:
        return len(self.strides)

    @property
    def centres(self) -> Tensor:
        """(A, 2) x and y of the middle of each cell, px."""
        return (self.indices + 0.5) * self.strides[:, None]


def grid_cells(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], device: torch.device
) -> Cells:
    """Cells of levels with these (rows, columns) and strides (px), finest first."""
    levels = tuple(Level(*size, stride) for size, stride in zip(sizes, strides, strict=True))
    indices = [_level_indices(level, device) for level in levels]
    repeated = [
        torch.full((level.rows * level.columns,), float(level.stride), device=device)
        for level in levels
    ]
    return Cells(levels, torch.cat(indices), torch.cat(repeated))


def decode_boxes(outputs: Tensor, indices: Tensor, strides: Tensor) -> Tensor:
    """Boxes cxcywh in px: centre (t + index) · stride, size exp(t) · stride.

    Args:
        outputs: (..., 4) t_x, t_y, t_w, t_h of some cells as the network gives them.
        indices: (..., 2) column and row of each cell.
        strides: (...) of each, px.
    """
    strides = strides[..., None]
    centres = (outputs[..., :2] + indices) * strides
    sizes = outputs[..., 2:].clamp(max=MAX_LOG_SIZE).exp() * strides
    return torch.cat([centres, sizes], dim=-1)


def encode_boxes(boxes: Tensor, indices: Tensor, strides: Tensor) -> Tensor:
    """Outputs (N, 4) that ``decode_boxes`` makes ``boxes`` (N, 4) cxcywh of, cell by cell."""
    scaled = boxes / strides[:, None]
    return torch.cat([scaled[:, :2] - indices, (scaled[:, 2:] + 1e-8).log()], dim=1)


def to_corners(boxes: Tensor) -> Tensor:
    """(..., 4) cxcywh -> xyxy."""
    centres, halves = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centres - halves, centres + halves], dim=-1)


def to_centres(boxes: Tensor) -> Tensor:
    """(..., 4) xyxy -> cxcywh."""
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(top_left + bottom_right) / 2, bottom_right - top_left], dim=-1)


def _level_indices(level: Level, device: torch.device) -> Tensor:
    """(rows * columns, 2) column and row."""
    y, x = torch.meshgrid(
        torch.arange(level.rows, device=device),
        torch.arange(level.columns, device=device),
        indexing="ij",
    )
    return torch.stack([x, y], dim=-1).reshape(-1, 2).float()
