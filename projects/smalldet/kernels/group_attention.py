"""Attention inside groups of a feature map as a C++ kernel, ``csrc/group_attention.cpp``.

It reads and writes the map in place, and keeps no scores for the backward pass. Shape shorthand:
B batch, (H, W) map, D channels of a head, (P, Q) partition size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nativecode import CheckedKernel
from smalldet.kernels.comparison import agree, normal, with_gradients
from smalldet.kernels.inference import infers_on_cpu
from smalldet.kernels.product import in_panels

CHANNELS = 16  # those of a map are a multiple of it in :func:`add_attention`: whole vectors


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


class AttentionWeights(NamedTuple):
    """``qkv`` (3 C, C) and ``proj`` (C, C), each with its bias; ``gain`` (C,); ``norm`` (C,).

    Channels of ``qkv`` are ordered head by head: q, k, v of each. The norm is a layer norm with
    PyTorch's eps of 1e-5; None where ``x`` is normalised already.
    """

    qkv: Tensor
    qkv_bias: Tensor
    proj: Tensor
    proj_bias: Tensor
    gain: Tensor
    norm: Tensor | None = None
    norm_bias: Tensor | None = None


class Packed(NamedTuple):
    """The same as the kernel reads them; norm and gain are parts of the linear layers."""

    normed: bool
    weights: tuple[Tensor, ...]  # of q, k, v and its bias, in whole panels; proj and its bias


def fits_half(x: Tensor, size: tuple[int, int], *weights: Tensor) -> bool:
    """Whether :func:`add_attention` takes ``x`` and :class:`AttentionWeights` here and now.

    Not where there are more threads than groups, of which one thread does a whole one.
    """
    groups = x.numel() // max(1, x.shape[-1] * size[0] * size[1])
    whole = x.shape[-1] % CHANNELS == 0 and groups >= torch.get_num_threads()
    return whole and infers_on_cpu(x, *weights) and KERNEL.available()


def pack(*weights: Tensor) -> Packed:
    """Of the :class:`AttentionWeights` ``weights``."""
    w = AttentionWeights(*(x.detach() for x in weights))
    qkv, bias, width = w.qkv, w.qkv_bias, KERNEL.library.panel()
    if w.norm is not None and w.norm_bias is not None:
        qkv, bias = qkv * w.norm, bias + qkv @ w.norm_bias
    bias = F.pad(bias, (0, -len(bias) % width))
    proj = in_panels(w.gain[:, None] * w.proj, width)
    return Packed(w.norm is not None, (in_panels(qkv, width), bias, proj, w.gain * w.proj_bias))


def add_attention(
    x: Tensor, packed: Packed, heads: int, size: tuple[int, int], grid: bool
) -> Tensor:
    """``x`` + gain * proj(attention in groups of qkv(norm(x))), without gradients.

    Args:
        x: map (B, H, W, C), C = heads * D.
        packed: of :func:`pack`.
        heads: their number.
        size: as :func:`attend_in_groups`, also ``grid``.
    """
    x = x.contiguous()
    y = torch.empty_like(x)
    sizes = (*x.shape[:3], heads, x.shape[3] // heads, *size, grid, torch.get_num_threads())
    pointers = (t.data_ptr() for t in (x, *packed.weights, y))
    KERNEL.call("add_attention", *sizes, *[None] * 4, packed.normed, *pointers)  # struct Half
    return y


def _agrees() -> bool:
    def by_definition(qkv: Tensor) -> Tensor:
        groups = qkv.unflatten(2, (5, 2)).permute(3, 4, 5, 1, 2, 0, 6).reshape(2, 2, 3, 15, 5)
        query, key, value = groups.unbind(2)
        out = (query @ key.mT / 5**0.5).softmax(-1) @ value  # (2 groups, heads, tokens, D)
        return out.unflatten(2, (3, 5)).permute(2, 3, 0, 1, 4).reshape(1, 3, 10, 10)

    def compiled(qkv: Tensor) -> Tensor:
        return attend_in_groups(qkv, (3, 5), grid=True)

    qkv = normal(1, 3, 10, 2, 3, 5)
    alike = agree(with_gradients(compiled, qkv), with_gradients(by_definition, qkv))
    return alike and _halves_agree()


def _halves_agree() -> bool:
    x, size, heads = normal(1, 6, 10, 16), (3, 5), 2
    shapes = [(48, 16), (48,), (16, 16), (16,), (16,), (16,), (16,)]
    weights = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    w = AttentionWeights(*weights)
    got, want = [], []
    for normed in (False, True):
        y = F.layer_norm(x, (16,), w.norm, w.norm_bias) if normed else x
        y = attend_in_groups(
            F.linear(y, w.qkv, w.qkv_bias).unflatten(-1, (heads, 3, -1)), size, True
        )
        want.append(x + w.gain * F.linear(y, w.proj, w.proj_bias))
        packed = pack(*weights[: 7 if normed else 5])
        got.append(add_attention(x, packed, heads, size, True))
    return agree(got, want)


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
