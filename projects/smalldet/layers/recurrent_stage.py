"""One scale of the recurrent vision transformer: downsampling, attention in space, LSTM in time.

Gehrig and Scaramuzza, Recurrent Vision Transformers for Object Detection with Event Cameras, 2023,
arXiv 2212.05598, figure 2. Parameter names are the published ones.

Shape shorthand: B streams, C channels of the stage, (h, w) its map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nativecode import UsesKernels
from smalldet.kernels import count_conv
from smalldet.kernels.onednn import Conv2d
from smalldet.layers.conv_lstm import ConvLSTM
from smalldet.layers.partition_attention import AttentionPair

StageState = tuple[Tensor, Tensor]  # hidden (B, C, h, w); cell (B, C, h, w), float32 at least


class Stage(nn.Module):
    """One scale: downsampling, attention in space, LSTM in time.

    Args:
        downsample: from the scale before.
        blocks: attention pairs.
        lstm: the recurrent cell.
        masking: whether there is a learned token for masked cells.
    """

    def __init__(
        self,
        downsample: Downsample,
        blocks: Sequence[AttentionPair],
        lstm: ConvLSTM,
        masking: bool = False,
    ) -> None:
        super().__init__()
        self.downsample_cf2cl = downsample
        self.att_blocks = nn.ModuleList(blocks)
        self.lstm = lstm
        self.mask_token: nn.Parameter | None = None
        if masking:
            width = downsample.conv.out_channels
            self.mask_token = nn.Parameter(torch.randn(1, 1, 1, width) * 0.02)

    def forward(
        self,
        x: Tensor,
        state: StageState | None,
        size: tuple[int, int],
        token_mask: Tensor | None = None,
    ) -> StageState:
        """The next (h, c), each (B, C, h, w), for the features ``x`` of the scale before."""
        x = self.downsample_cf2cl(x)  # (B, h, w, C)
        if token_mask is not None:
            x = self._masked(x, token_mask)
        for block in self.att_blocks:
            x = block(x, size)
        return self.lstm(x.permute(0, 3, 1, 2), state)

    def _masked(self, x: Tensor, token_mask: Tensor) -> Tensor:
        if self.mask_token is None:
            raise ValueError(
                "A token mask was given, but this model has no token to put in the place of the "
                "masked ones; build it with enable_masking=True."
            )
        if token_mask.shape != x.shape[:3]:
            raise ValueError(
                f"The token mask has shape {tuple(token_mask.shape)}, but the cells of the first "
                f"stage are {tuple(x.shape[:3])} (streams, rows, columns of the padded input)."
            )
        return torch.where(token_mask[..., None], self.mask_token.to(x.dtype), x)


class Downsample(UsesKernels, nn.Module):
    """Merge ``factor`` x ``factor`` cells into one, then normalise its channels.

    Args:
        in_channels: channels before.
        out_channels: channels after.
        factor: cells merged along each side.
        overlap: use a kernel of 2 * factor - 1 cells, which overlaps its neighbours, instead of
            ``factor`` cells.
        norm_affine: whether the norm has weights.
    """

    kernels = (count_conv.KERNEL,)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        factor: int,
        overlap: bool = True,
        norm_affine: bool = True,
    ) -> None:
        super().__init__()
        kernel, padding = (2 * factor - 1, factor - 1) if overlap else (factor, 0)
        self.conv = Conv2d(
            in_channels, out_channels, kernel, stride=factor, padding=padding, bias=False
        )
        self.norm = nn.LayerNorm(out_channels, elementwise_affine=norm_affine)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, H / factor, W / factor, out_channels).

        Integers may be uint8 only, and W must be a multiple of ``factor`` then.
        """
        if x.dtype == torch.uint8:
            out = count_conv.convolve_counts(x, self.conv.weight, self.conv.stride[0])
        else:
            out = self.conv(x)
        return self.norm(out.permute(0, 2, 3, 1))
