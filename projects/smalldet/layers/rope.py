"""Rotary position embedding on a grid of image patches.

Su et al., RoFormer, 2021, arXiv 2104.09864, in the two-dimensional form of Fang et al., EVA-02,
2023, arXiv 2303.11331, which Vision Mamba's first weights were trained with.
"""

from __future__ import annotations

import torch
from torch import Tensor


def axial_rope_table(grid: tuple[int, int], dim: int, pretrain_grid: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angle of each pair of channels at each grid position.

    Positions are counted in cells of the pretraining grid: a larger grid is squeezed into the
    range seen in pretraining, so row i of h stands at i / h * pretrain_grid.

    Args:
        grid: rows and columns of patches.
        dim: number of channels; the first half turns with the row, the second with the column.
        pretrain_grid: rows (and columns) of the square grid of pretraining.

    Returns:
        Two tables (rows * columns, dim / 2), row-major.

    Raises:
        ValueError: if ``dim`` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"Rotary embedding needs a multiple of 4 channels, got {dim}.")
    frequencies = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    rows, columns = (
        torch.arange(n, dtype=torch.float64)[:, None] / n * pretrain_grid * frequencies
        for n in grid
    )  # each (n, dim / 4)
    shape = (*grid, dim // 4)
    angles = torch.cat([rows[:, None].expand(shape), columns[None].expand(shape)], dim=-1)
    angles = angles.flatten(0, 1)
    return angles.cos().float(), angles.sin().float()


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of adjacent channels (2k, 2k + 1) of ``x`` (B, L, E) by its angle.

    ``cos`` and ``sin`` are (L, E / 2); a row of cos 1, sin 0 leaves its token as it is.
    """
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.stack(turned, dim=-1).flatten(-2)
