"""One scale of the recurrent vision transformer: downsampling, attention in space, LSTM in time.

Gehrig and Scaramuzza, Recurrent Vision Transformers for Object Detection with Event Cameras, 2023,
arXiv 2212.05598, figure 2. Parameter names are the published ones.

Shape shorthand: B streams, C channels of the stage, (h, w) its map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smalldet.kernels.onednn import Conv2d
from smalldet.layers.conv_lstm import ConvLSTM
from smalldet.layers.partition_attention import AttentionPair

_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by their bytes

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


class Downsample(nn.Module):
    """Merge ``factor`` x ``factor`` cells into one, then normalise its channels.

    Args:
        in_channels: channels before.
        out_channels: channels after.
        factor: cells merged along each side.
        overlap: use a kernel of 2 * factor - 1 cells, which overlaps its neighbours, instead of
            ``factor`` cells.
        norm_affine: whether the norm has weights.
    """

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
            out = convolve_counts(x, self.conv.weight, self.conv.stride[0])
        else:
            out = self.conv(x)
        return self.norm(out.permute(0, 2, 3, 1))


def convolve_counts(counts: Tensor, weight: Tensor, factor: int) -> Tensor:
    """``F.conv2d(counts, weight, stride=factor, padding=k - factor)`` of small integers.

    ``factor`` neighbouring columns are read as one word, so that one copy of whole words brings
    the channels together and turns columns into channels. The same convolution then has
    ``factor`` times as many channels and no stride across, which runs several times as fast.

    Args:
        counts: (B, C, H, W) uint8, W a multiple of ``factor``.
        weight: (O, C, k, k), k being ``factor`` or 2 * ``factor`` - 1.
        factor: 2, 4 or 8.
    """
    kernel = weight.shape[-1]
    padding = kernel - factor
    extra = -kernel % factor  # empty columns that make the kernel one of whole words
    words = F.pad(counts, (padding + extra, 0)).view(_WORDS[factor])
    cells = words.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
    cells = cells.view(torch.uint8).to(weight.dtype).permute(0, 3, 1, 2)
    kernels = F.pad(weight, (extra, 0)).unflatten(3, (-1, factor))
    kernels = kernels.permute(0, 1, 4, 2, 3).flatten(1, 2)  # (O, C * factor, k, 1 or 2)
    return F.conv2d(cells, kernels, stride=(factor, 1), padding=(padding, 0))
