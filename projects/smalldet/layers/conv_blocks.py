"""Convolution blocks of the YOLOX neck and head, under their published parameter names.

Ge et al., YOLOX: Exceeding YOLO Series in 2021, 2021, arXiv 2107.08430; cross-stage partial
layers: Wang et al., CSPNet, 2020, arXiv 1911.11929. Batch norm has eps 1e-5 and momentum 0.1, as
in the published RVT models (those of YOLOX itself were trained with 1e-3 and 0.03).

Shape shorthand: B images, C channels, (H, W) the map; (h, w) = ceil((H, W) / stride) after a
convolution of odd kernel size.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from smalldet.kernels.cached_tensor import CachedTensor
from smalldet.kernels.onednn import Conv2d

ACTIVATIONS = ("silu", "relu", "lrelu")
LEAKY_SLOPE = 0.1


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm, activation.

    In evaluation mode without gradients the batch norm is part of the convolution; what that takes
    is computed once, and again when a weight or a statistic has changed.

    Args:
        in_channels: channels before.
        out_channels: channels after.
        kernel_size: odd side of the kernel in cells; the border is padded with zeros.
        stride: step of the kernel in cells.
        groups: groups of channels that do not see one another.
        activation: one of ``ACTIVATIONS``.

    Raises:
        ValueError: an unknown activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        padding = (kernel_size - 1) // 2
        self.conv = Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = build_activation(activation)
        self._folded = CachedTensor()

    def train(self, mode: bool = True) -> ConvBlock:
        self._folded.clear()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, h, w)."""
        if self.training or torch.is_grad_enabled():
            return self.act(self.bn(self.conv(x)))
        bn = self.bn
        mean, variance = bn.running_mean, bn.running_var
        assert mean is not None and variance is not None
        sources = (self.conv.weight, bn.weight, bn.bias, mean, variance)
        weight, bias = self._folded.get(partial(_fold, bn.eps), *sources)
        return self.conv.convolve(x, weight, bias, self.act)


def _fold(
    eps: float, weight: Tensor, gain: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does the work of its batch norm, too."""
    scale = gain * (variance + eps).rsqrt()
    return weight * scale[:, None, None, None], shift - mean * scale


class DepthwiseConvBlock(nn.Module):
    """Each channel convolved for itself, then 1x1 over channels; both are whole ``ConvBlock``s."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        self.dconv = ConvBlock(
            in_channels, in_channels, kernel_size, stride, groups=in_channels, activation=activation
        )
        self.pconv = ConvBlock(in_channels, out_channels, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, h, w)."""
        return self.pconv(self.dconv(x))


class Bottleneck(nn.Module):
    """1x1, then 3x3 convolution at one width; without the shortcut that YOLOX has elsewhere."""

    def __init__(self, channels: int, depthwise: bool = False, activation: str = "silu") -> None:
        super().__init__()
        self.conv1 = ConvBlock(channels, channels, 1, activation=activation)
        self.conv2 = spatial_block(depthwise)(channels, channels, 3, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.conv2(self.conv1(x))


class CSPLayer(nn.Module):
    """Two halves of the width, one through bottlenecks and one past them, joined by 1x1.

    Args:
        in_channels: channels before.
        out_channels: channels after; at least 2.
        num_blocks: bottlenecks in a row.
        depthwise: 3x3 convolutions are depthwise.
        activation: one of ``ACTIVATIONS``.

    Raises:
        ValueError: an unknown activation, or too few channels for two halves.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        depthwise: bool = False,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        half = out_channels // 2
        if half == 0:
            raise ValueError(
                f"A cross-stage partial layer splits its {out_channels} output channels into "
                "halves; give it at least 2."
            )
        self.conv1 = ConvBlock(in_channels, half, 1, activation=activation)
        self.conv2 = ConvBlock(in_channels, half, 1, activation=activation)
        self.conv3 = ConvBlock(2 * half, out_channels, 1, activation=activation)
        self.m = nn.Sequential(
            *(Bottleneck(half, depthwise, activation) for _ in range(num_blocks))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        return self.conv3(torch.cat([self.m(self.conv1(x)), self.conv2(x)], dim=1))


def spatial_block(depthwise: bool) -> type[ConvBlock] | type[DepthwiseConvBlock]:
    """The class of convolutions larger than 1x1; call it without ``groups``."""
    return DepthwiseConvBlock if depthwise else ConvBlock


def build_activation(name: str) -> nn.Module:
    """The activation of that name.

    Raises:
        ValueError: there is none.
    """
    if name == "silu":
        return nn.SiLU()
    if name == "relu":
        return nn.ReLU()
    if name == "lrelu":
        return nn.LeakyReLU(LEAKY_SLOPE)
    raise ValueError(f"activation={name!r} is unknown; choose one of {', '.join(ACTIVATIONS)}.")
