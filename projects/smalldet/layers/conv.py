"""A convolution whose weights are laid out for the CPU once, not at each call."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from smalldet.kernels import onednn
from smalldet.kernels.derived import Derived


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` without dilation; without gradients, in float32 on a CPU, by oneDNN itself."""

    stride: tuple[int, int]
    padding: tuple[int, int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._packed = Derived()

    def train(self, mode: bool = True) -> Conv2d:
        self._packed.clear()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, h, w)."""
        if not onednn.can_infer(x, self.weight, self.bias):
            return super().forward(x)
        how = (self.stride, self.padding, self.groups)
        packed = self._packed.get(lambda w: onednn.pack_conv(w, *how, [*x.shape]), self.weight)
        return onednn.conv2d(x, packed, self.bias, *how)
