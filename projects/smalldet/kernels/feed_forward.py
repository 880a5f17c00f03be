"""Half of a transformer block as a C++ kernel, ``csrc/feed_forward.cpp``: inference only.

Norm, linear, GELU, linear, gain, and the sum with the input, in one pass over the data: what lies
between stays in the cache. Shape shorthand: C channels, H hidden channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nativecode import CheckedKernel
from smalldet.kernels.comparison import agree, normal
from smalldet.kernels.inference import infers_on_cpu
from smalldet.kernels.product import in_panels

CHANNELS = 16  # C is a multiple of it, for whole vectors


class FeedForwardWeights(NamedTuple):
    """``norm`` (C,), ``first`` (H, C) and ``second`` (C, H), each with its bias; ``gain`` (C,).

    The norm is a layer norm with PyTorch's eps of 1e-5.
    """

    norm: Tensor
    norm_bias: Tensor
    first: Tensor
    first_bias: Tensor
    second: Tensor
    second_bias: Tensor
    gain: Tensor


class Packed(NamedTuple):
    """The same as the kernel reads them; norm and gain are parts of the linear layers."""

    first: Tensor
    second: Tensor
    bias: Tensor  # (H,), filled up to whole panels
    other_bias: Tensor  # (C,)


def fits_kernel(x: Tensor, *weights: Tensor) -> bool:
    """Whether :func:`add_feed_forward` takes ``x`` and :class:`FeedForwardWeights` here and now."""
    whole = x.numel() > 0 and x.shape[-1] % CHANNELS == 0
    return whole and infers_on_cpu(x, *weights) and KERNEL.available()


def pack(*weights: Tensor) -> Packed:
    """Of the :class:`FeedForwardWeights` ``weights``."""
    w = FeedForwardWeights(*(x.detach() for x in weights))
    width = KERNEL.library.panel()
    bias = w.first_bias + w.first @ w.norm_bias
    return Packed(
        in_panels(w.first * w.norm, width),
        in_panels(w.gain[:, None] * w.second, width),
        F.pad(bias, (0, -len(bias) % width)),
        w.gain * w.second_bias,
    )


def add_feed_forward(x: Tensor, packed: Packed) -> Tensor:
    """``x`` + gain * second(gelu(first(norm(x)))), x being (..., C) in any memory order."""
    x = x.contiguous()
    y = torch.empty_like(x)
    width, hidden = x.shape[-1], packed.second.shape[1]
    sizes = (x.numel() // width, width, hidden, torch.get_num_threads())
    pointers = (t.data_ptr() for t in (x, *packed, y))
    KERNEL.call("feed_forward", *sizes, *pointers)  # struct FeedForward
    return y


def plain_feed_forward(x: Tensor, *weights: Tensor) -> Tensor:
    """As :func:`add_feed_forward`, of the :class:`FeedForwardWeights` ``weights``, in PyTorch."""
    w = FeedForwardWeights(*weights)
    y = F.layer_norm(x, x.shape[-1:], w.norm, w.norm_bias)
    y = F.gelu(F.linear(y, w.first, w.first_bias))
    return x + w.gain * F.linear(y, w.second, w.second_bias)


def _agrees() -> bool:
    x, weights = normal(3, 47, 16), _random_weights(16, 300)
    return agree([add_feed_forward(x, pack(*weights))], [plain_feed_forward(x, *weights)])


def _random_weights(width: int, hidden: int) -> FeedForwardWeights:
    shapes = [(width,), (width,), (hidden, width), (hidden,), (width, hidden), (width,), (width,)]
    return FeedForwardWeights(*(normal(*shape, seed=i) for i, shape in enumerate(shapes)))


KERNEL = CheckedKernel(
    "compiled feed-forward layer", _agrees, Path(__file__).with_name("csrc") / "feed_forward.cpp"
)
