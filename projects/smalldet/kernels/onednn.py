"""Products and convolutions for inference in float32 on a CPU, whoever made the CPU.

PyTorch's default library for float32 products runs at half of what an AMD processor can do, and
its convolutions lay out their weights anew at each call. oneDNN, which PyTorch brings as well,
does neither if it is asked directly. The names that it is asked by are private to PyTorch: they
are used only where a small example gives what the public functions give.
"""

from __future__ import annotations

import logging
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)
FUSED_ACTIVATIONS = {"": "none", "silu": "swish", "relu": "relu"}
Pair = tuple[int, int]


def can_infer(x: Tensor, *weights: Tensor | None) -> bool:
    """Whether the functions of this module take ``x`` and ``weights`` here and now."""
    tensors = [x, *(w for w in weights if w is not None)]
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return False
    if torch.is_autocast_enabled("cpu") or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    plain = all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    return plain and x.numel() > 0 and bool(torch.backends.mkldnn.enabled) and _works()


def pack_linear(weight: Tensor, rows: int) -> Tensor:
    """``weight`` (O, I) as :func:`linear` wants it; quickest for about ``rows`` rows of input."""
    with torch.no_grad():
        return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)


def linear(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """``F.linear`` of ``x`` (..., I) with a packed weight: (..., O)."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def pack_conv(weight: Tensor, stride: Pair, padding: Pair, groups: int, shape: list[int]) -> Tensor:
    """``weight`` (O, I / groups, k, k) as :func:`conv2d` wants it, for input of about ``shape``."""
    with torch.no_grad():
        return torch.ops.mkldnn._reorder_convolution_weight(
            weight.detach(), padding, stride, (1, 1), groups, shape
        )


def conv2d(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair,
    groups: int = 1,
    activation: str = "",
) -> Tensor:
    """``F.conv2d`` with a packed weight, then one of ``FUSED_ACTIVATIONS``.

    The result has the channels of a pixel together in memory.
    """
    name = FUSED_ACTIVATIONS[activation]
    x = x.contiguous(memory_format=torch.channels_last)
    return torch.ops.mkldnn._convolution_pointwise(
        x, packed, bias, padding, stride, (1, 1), groups, name, [], ""
    )


@cache
def _works() -> bool:
    """Whether PyTorch has these operations, and they compute what they should."""
    if not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(s, generator=generator) for s in ((2, 8, 9, 7), (4, 8, 3, 3), 4))
    rows, table = x.permute(0, 2, 3, 1), weight[:, :, 0, 0]
    try:
        pairs = [(linear(rows, pack_linear(table, 126), bias), F.linear(rows, table, bias))]
        for name, activation in (("", torch.nn.Identity()), ("silu", F.silu), ("relu", F.relu)):
            packed = pack_conv(weight, (2, 2), (1, 1), 1, list(x.shape))
            wanted = activation(F.conv2d(x, weight, bias, stride=2, padding=1))
            pairs.append((conv2d(x, packed, bias, (2, 2), (1, 1), activation=name), wanted))
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False  # another version of PyTorch
    works = all(torch.allclose(got, wanted, rtol=1e-4, atol=1e-5) for got, wanted in pairs)
    if not works:
        logger.warning("oneDNN is not asked directly: it computes wrong values here.")
    return works
