"""Attention inside groups of a feature map as a C++ kernel, ``csrc/group_attention.cpp``.

It reads and writes the map in place, and keeps no scores for the backward pass. Shape shorthand:
B batch, (H, W) map, D channels of a head, (P, Q) partition size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nativecode import CheckedKernel
from smalldet.kernels.comparison import agree, normal, with_gradients


def fits_kernel(x: Tensor) -> bool:
    """Whether maps like ``x`` can go through :func:`attend_in_groups` here."""
    if torch.is_autocast_enabled("cpu") or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return x.device.type == "cpu" and x.dtype == torch.float32 and KERNEL.available()


def attend_in_groups(qkv: Tensor, size: tuple[int, int], grid: bool) -> Tensor:
    """softmax(q kᵀ / sqrt(D)) v within each group.

    Args:
        qkv: (B, H, W, heads, 3, D) float32, in any memory order.
        size: (P, Q), which divide H and W.
        grid: groups are grids instead of windows; see ``partition``.

    Returns:
        (B, H, W, heads * D).
    """
    return _GroupAttention.apply(qkv.contiguous(), size, grid)


def _agrees() -> bool:
    def by_definition(qkv: Tensor) -> Tensor:
        groups = qkv.unflatten(2, (5, 2)).permute(3, 4, 5, 1, 2, 0, 6).reshape(2, 2, 3, 15, 5)
        query, key, value = groups.unbind(2)
        out = (query @ key.mT / 5**0.5).softmax(-1) @ value  # (2 groups, heads, tokens, D)
        return out.unflatten(2, (3, 5)).permute(2, 3, 0, 1, 4).reshape(1, 3, 10, 10)

    def compiled(qkv: Tensor) -> Tensor:
        return attend_in_groups(qkv, (3, 5), grid=True)

    qkv = normal(1, 3, 10, 2, 3, 5)
    return agree(with_gradients(compiled, qkv), with_gradients(by_definition, qkv))


KERNEL = CheckedKernel(
    "compiled attention", _agrees, Path(__file__).with_name("csrc") / "group_attention.cpp"
)


class _GroupAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, size: tuple[int, int], grid: bool) -> Tensor:
        ctx.save_for_backward(qkv)
        ctx.size, ctx.grid = size, grid
        out = qkv.new_empty(*qkv.shape[:3], qkv.shape[3] * qkv.shape[5])
        _call("attend", qkv, size, grid, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (qkv,) = ctx.saved_tensors
        grad, grad_qkv = grad.contiguous(), torch.empty_like(qkv)
        _call("attend_backward", qkv, ctx.size, ctx.grid, None, grad, grad_qkv)
        return grad_qkv, None, None


def _call(
    function: str, qkv: Tensor, size: tuple[int, int], grid: bool, *others: Tensor | None
) -> None:
    """``others`` are the output, its gradient, and that of ``qkv``."""
    batch, height, width, heads, _, dim = qkv.shape
    sizes = (batch, height, width, heads, dim, *size, grid, torch.get_num_threads())
    pointers = [None if x is None else x.data_ptr() for x in (qkv, *others)]
    KERNEL.call(function, *sizes, *pointers)  # struct Attention
