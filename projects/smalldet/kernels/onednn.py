"""Linear layers and convolutions whose speed on a CPU does not depend on who made the CPU.

PyTorch's default library for float32 products runs at half of what an AMD processor can do, and
its convolutions lay out their weights anew at each call. oneDNN, which PyTorch brings as well,
does neither if it is asked directly. The names that it is asked by are private to PyTorch: they
are used only where a small example gives what the public functions give, and without gradients.

Shape shorthand: I, O channels in and out, k side of a kernel in cells.
"""

from __future__ import annotations

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nativecode import CheckedKernel, UsesKernels
from smalldet.kernels import winograd
from smalldet.kernels.cached_tensor import CachedTensor
from smalldet.kernels.comparison import agree, normal
from smalldet.kernels.inference import infers_on_cpu

FUSED: dict[type[nn.Module], str] = {nn.Identity: "none", nn.SiLU: "swish", nn.ReLU: "relu"}
WIDE = torch.backends.cpu.get_cpu_capability() == "AVX512"
Pair = tuple[int, int]


def can_infer(x: Tensor, *weights: Tensor | None) -> bool:
    """Whether oneDNN is asked about ``x`` and ``weights`` here and now."""
    possible = infers_on_cpu(x, *weights) and x.numel() > 0
    return possible and bool(torch.backends.mkldnn.enabled) and KERNEL.available()


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
    activation: str = "none",
) -> Tensor:
    """``F.conv2d`` with a packed weight, then one of the activations in ``FUSED``.

    The result has the channels of a pixel together in memory.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    return torch.ops.mkldnn._convolution_pointwise(
        x, packed, bias, padding, stride, (1, 1), groups, activation, [], ""
    )


def _agrees() -> bool:
    x, weight, bias = normal(2, 8, 9, 7), normal(4, 8, 3, 3, seed=1), normal(4, seed=2)
    rows, table = x.permute(0, 2, 3, 1), weight[:, :, 0, 0]
    got, want = [linear(rows, pack_linear(table, 126), bias)], [F.linear(rows, table, bias)]
    for act, name in FUSED.items():
        packed = pack_conv(weight, (2, 2), (1, 1), 1, list(x.shape))
        got.append(conv2d(x, packed, bias, (2, 2), (1, 1), activation=name))
        want.append(act()(F.conv2d(x, weight, bias, stride=2, padding=1)))
    return agree(got, want)


KERNEL = CheckedKernel("oneDNN asked directly", _agrees)


class _Packed(UsesKernels, nn.Module):
    """Keeps weights as oneDNN wants them, from one inference to the next."""

    kernels = (KERNEL,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._packed = CachedTensor()

    def train(self, mode: bool = True) -> Self:
        self._packed.clear()
        return super().train(mode)


class Linear(_Packed, nn.Linear):
    """``nn.Linear``; in float32 on a CPU its products, gradients too, are those of oneDNN.

    With gradients, a convolution of 1x1 is the same product and goes through oneDNN (where there
    are two threads or more); without a copy, if the channels of a pixel stand together in memory.
    Its gradients are slower than those of PyTorch's default library, so it is taken only where that
    library may leave half of a processor's vectors unused: with AVX-512.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if can_infer(x, self.weight, self.bias):
            rows = x.numel() // self.in_features
            packed = self._packed.get(lambda w: pack_linear(w, rows), self.weight)
            return linear(x, packed, self.bias)
        if WIDE and _is_plain(x):
            return self._convolved(x, self.weight, self.bias)
        return super().forward(x)

    def added(self, x: Tensor, y: Tensor, gain: Tensor) -> Tensor:
        """``x`` (..., out_features) + ``gain`` (out_features,) * this layer of ``y``.

        In training on a CPU the gain is put on the weights, which are fewer than the activations,
        and the product is added where ``x`` lies: less is read, written and kept for the backward
        pass.
        """
        if self.bias is None or not (torch.is_grad_enabled() and _is_plain(y)):
            return x + gain * self(y)
        weight, bias = gain[:, None] * self.weight, gain * self.bias
        if WIDE:
            return x + self._convolved(y, weight, bias)
        rows = x.reshape(-1, self.out_features) + bias
        return rows.addmm_(y.reshape(-1, self.in_features), weight.mT).view(x.shape)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        pixels = x.reshape(1, -1, 1, self.in_features).permute(0, 3, 1, 2)
        out = F.conv2d(pixels, weight[:, :, None, None], bias)
        return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], self.out_features)


def _is_plain(x: Tensor) -> bool:
    """Whether ``x`` is what gradients on a CPU are made of: float32, without autocast.

    In ``torch.export`` nothing is: a graph is not to depend on the machine that made it.
    """
    is_float = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0
    return is_float and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_exporting())


class Conv2d(_Packed, nn.Conv2d):
    """``nn.Conv2d`` without dilation; in float32 on a CPU, without gradients, by oneDNN itself.

    What Winograd's algorithm suits goes to that.
    """

    kernels = (KERNEL, winograd.KERNEL)

    stride: Pair
    padding: Pair

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, h, w)."""
        return self.convolve(x, self.weight, self.bias)

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, act: nn.Module | None = None
    ) -> Tensor:
        """``act`` of ``x`` convolved with other weights of this layer's shape."""
        act = act or nn.Identity()
        if not can_infer(x, weight, bias):
            return act(self._conv_forward(x, weight, bias))
        if winograd.fits_kernel(x, weight, self.stride, self.padding):
            silu = isinstance(act, nn.SiLU)
            packed = self._packed.get(winograd.pack, weight)
            out = winograd.convolve(x, packed, self.out_channels, bias, silu)
            return out if silu else act(out)
        how = (self.stride, self.padding, self.groups)
        packed = self._packed.get(lambda w: pack_conv(w, *how, [*x.shape]), weight)
        fused = FUSED.get(type(act))
        out = conv2d(x, packed, bias, *how, fused or "none")
        return out if fused else act(out)
