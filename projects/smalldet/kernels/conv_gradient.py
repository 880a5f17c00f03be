"""3x3 convolutions whose backward pass on a CPU costs what it must, in products of matrices.

oneDNN's gradient of the weights takes three to four times as long as its other passes where a large
map has its channels last. And where few cells of a map have a gradient (a proposal head learns from
256 anchors an image, of a hundred thousand), all of it is computed for the others' zeros.

Shape shorthand: B images, I, O channels in and out, (H, W) the map, R cells with a gradient. A map
in a frame of one cell of zeros is read as rows of channels: there the cell above is always the same
number of rows before.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

FEW = 1 / 8  # of the cells; then only those are looked at
LARGE = 1_000_000  # numbers of a map, from which on oneDNN is slow
ROWS = 4096  # of a product; they and the sums stay in the cache


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether :func:`conv2d` does such a map and such weights here."""
    if torch.is_autocast_enabled("cpu") or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    plain = all(t.dtype == torch.float32 and t.device.type == "cpu" for t in (x, weight))
    is_whole = weight.shape[1:] == (x.shape[1], 3, 3)  # without groups
    return plain and torch.is_grad_enabled() and x.numel() > 0 and is_whole


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.conv2d`` with a padding of 1; its gradients are the same but for rounding.

    Args:
        x: (B, I, H, W).
        weight: (O, I, 3, 3).
        bias: (O,).

    Returns:
        (B, O, H, W).
    """
    return _Conv.apply(x, weight, bias)


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """From the cells that have a gradient where those are few, else from all."""
        x, weight = ctx.saved_tensors
        cells = grad.ne(0).any(dim=1)
        if int(cells.sum()) <= FEW * cells.numel():
            return _of_few(grad, x, weight, cells, ctx.needs_input_grad)
        is_flat = x.is_contiguous(memory_format=torch.channels_last)
        is_large = x[0].numel() >= LARGE
        wanted = list(ctx.needs_input_grad)
        by_products = wanted[1] and is_flat and is_large
        wanted[1] &= not by_products
        how = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        grads = torch.ops.aten.convolution_backward(grad, x, weight, [len(weight)], *how, wanted)
        return (grads[0], _weight_gradient(grad, x), grads[2]) if by_products else tuple(grads)


def _of_few(
    grad: Tensor, x: Tensor, weight: Tensor, cells: Tensor, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """The three gradients from the ``cells`` (B, H, W) that have one."""
    image, i, j = cells.nonzero(as_tuple=True)
    framed = _framed(x)
    _, height, width, channels = framed.shape
    first = (image * height + i) * width + j  # row of the upper left neighbour
    seen = first[:, None] + torch.tensor(_neighbours(width))  # (R, 9)
    rows = grad.permute(0, 2, 3, 1)[image, i, j]  # (R, O)
    grad_x = grad_weight = None
    if wanted[1]:
        patches = framed.view(-1, channels)[seen]  # (R, 9, I)
        grad_weight = _as_weight((rows.T @ patches.flatten(1)).unflatten(1, (9, channels)))
    if wanted[0]:
        parts = (rows @ weight.permute(0, 2, 3, 1).flatten(1)).unflatten(1, (9, channels))
        grad_x = torch.zeros_like(framed)
        for place in range(9):  # no cell twice: so all threads give the same digits
            grad_x.view(-1, channels)[seen[:, place]] += parts[:, place]
        grad_x = grad_x[:, 1:-1, 1:-1].permute(0, 3, 1, 2)
    return grad_x, grad_weight, rows.sum(0) if wanted[2] else None


def _weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """Sums over all cells of gradient times neighbour: nine products, a part of the rows each."""
    width, channels = x.shape[3] + 2, x.shape[1]
    rows, neighbours = _framed(grad).view(-1, grad.shape[1]), _framed(x).view(-1, channels)
    sums = rows.new_zeros(9, grad.shape[1], channels)
    inside = len(rows) - width - 1  # rows before and after are of the frame
    for start in range(width + 1, inside, ROWS):
        part = rows[start : min(start + ROWS, inside)].T
        for place, distance in enumerate(_neighbours(width)):
            first = start - width - 1 + distance
            sums[place].addmm_(part, neighbours[first : first + part.shape[1]])
    return _as_weight(sums.transpose(0, 1))


def _framed(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H + 2, W + 2, C), adjacent."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()


def _neighbours(width: int) -> list[int]:
    """Rows from a cell's upper left neighbour to its nine, itself among them."""
    return [i * width + j for i in range(3) for j in range(3)]


def _as_weight(sums: Tensor) -> Tensor:
    """(O, 9, I) -> (O, I, 3, 3)."""
    return sums.unflatten(1, (3, 3)).permute(0, 3, 1, 2)
