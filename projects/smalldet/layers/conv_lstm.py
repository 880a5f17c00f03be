"""The convolutional LSTM cell of the recurrent vision transformer.

Shi et al., Convolutional LSTM Network, 2015, arXiv 1506.04214, without peepholes, in the form of
Gehrig and Scaramuzza, Recurrent Vision Transformers, 2023, arXiv 2212.05598: one 1x1 convolution,
and optionally a depthwise convolution before it. Parameter names are the published ones.
"""

from __future__ import annotations

from typing import Self, cast

import torch
from torch import Tensor, nn

from nativecode import UsesKernels
from smalldet.kernels import lstm_update
from smalldet.kernels.cached_tensor import CachedTensor
from smalldet.kernels.onednn import Conv2d


class ConvLSTM(UsesKernels, nn.Module):
    """One LSTM cell per position of a feature map.

    With a = conv1x1([x, h]) cut into f, i, o, g (in this order):
    c' = sigmoid(f) * c + sigmoid(i) * tanh(g) and h' = sigmoid(o) * tanh(c').

    Gates and cell are computed in float32 at least, whatever autocast says: the cell adds up small
    amounts over hundreds of steps, which bfloat16 (8 bits) would swallow.

    Args:
        dim: channels C of input, hidden and cell state.
        dws_conv: put a depthwise convolution, which looks at the neighbours, before the 1x1 one.
        dws_conv_only_hidden: let it see the hidden state only (else input and hidden state).
        dws_conv_kernel_size: its side in cells, odd.

    Raises:
        ValueError: an even kernel.
    """

    kernels = (lstm_update.KERNEL,)

    def __init__(
        self,
        dim: int,
        dws_conv: bool = False,
        dws_conv_only_hidden: bool = True,
        dws_conv_kernel_size: int = 3,
    ) -> None:
        super().__init__()
        self.dws_conv, self.dws_conv_only_hidden = dws_conv, dws_conv_only_hidden
        if dws_conv:
            kernel = dws_conv_kernel_size
            if kernel % 2 == 0:
                raise ValueError(
                    f"dws_conv_kernel_size={kernel} is even, so the map would grow at each step; "
                    "choose an odd one."
                )
            width = dim if dws_conv_only_hidden else 2 * dim
            self.conv3x3_dws = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.conv1x1 = Conv2d(2 * dim, 4 * dim, kernel_size=1)
        self._packed = CachedTensor()

    def train(self, mode: bool = True) -> Self:
        self._packed.clear()
        return super().train(mode)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The next (h, c) for input ``x`` (B, C, h, w); ``state`` None is all zeros.

        Raises:
            ValueError: the state is of another batch or another map.
        """
        hidden, cell = _start_state(x) if state is None else state
        if hidden.shape != x.shape or cell.shape != x.shape:
            raise ValueError(
                f"The recurrent state (h {tuple(hidden.shape)}, c {tuple(cell.shape)}) does not "
                f"fit the input {tuple(x.shape)} (streams, channels, rows, columns). Start anew "
                "(state None) when the number of streams or the size of the input changes."
            )
        weight, bias = self.conv1x1.weight, cast(Tensor, self.conv1x1.bias)
        if not self.dws_conv and lstm_update.fits_step(x, hidden, cell, weight, bias):
            packed = self._packed.get(lstm_update.pack, weight)
            return lstm_update.step(x, hidden, cell, packed, bias)
        if self.dws_conv and self.dws_conv_only_hidden:
            hidden = self.conv3x3_dws(hidden)
        both = torch.cat([x, hidden], dim=1)
        if self.dws_conv and not self.dws_conv_only_hidden:
            both = self.conv3x3_dws(both)
        gates = self.conv1x1(both)
        wide = gates.to(_wide(gates))
        hidden, cell = lstm_update.update_cell(wide, cell.to(wide.dtype))
        return hidden.to(gates.dtype), cell


def _start_state(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(x), torch.zeros_like(x, dtype=_wide(x))


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
