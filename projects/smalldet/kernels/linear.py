"""A linear layer whose speed on a CPU does not depend on who made the CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smalldet.kernels import onednn
from smalldet.kernels.derived import Derived


class Linear(nn.Linear):
    """``nn.Linear``; in float32 on a CPU its products, gradients too, are those of oneDNN.

    PyTorch's default library for them runs at half of what an AMD processor can do. Without
    gradients oneDNN is asked directly, with weights that are laid out for it once. With them, a
    convolution of 1x1 is the same product and goes through oneDNN (where there are two threads or
    more); without a copy, if the channels of a pixel stand together in memory.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._packed = Derived()

    def train(self, mode: bool = True) -> Linear:
        self._packed.clear()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if onednn.can_infer(x, self.weight, self.bias):
            rows = x.numel() // self.in_features
            packed = self._packed.get(lambda w: onednn.pack_linear(w, rows), self.weight)
            return onednn.linear(x, packed, self.bias)
        plain = x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() == 0
        if plain or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        pixels = x.reshape(1, -1, 1, self.in_features).permute(0, 3, 1, 2)
        out = F.conv2d(pixels, self.weight[:, :, None, None], self.bias)
        return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], self.out_features)
