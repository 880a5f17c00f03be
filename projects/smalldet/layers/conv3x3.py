"""Detectron2's 3x3 convolution with the gradients of :mod:`smalldet.kernels.conv_gradient`."""

from __future__ import annotations

from collections.abc import Callable

from detectron2.layers import Conv2d
from torch import Tensor, nn

from smalldet.kernels import conv_gradient


class Conv3x3(Conv2d):
    """Detectron2's ``Conv2d`` of stride 1 and padding 1, with its optional norm and activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bias: bool = True,
        norm: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        after = {"norm": norm, "activation": activation}
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias, **after)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        if not conv_gradient.fits(x, self.weight):
            return super().forward(x)
        x = conv_gradient.conv2d(x, self.weight, self.bias)
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else self.activation(x)
