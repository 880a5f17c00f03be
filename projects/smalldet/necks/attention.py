"""Attention for small objects: in space, in time and over channels.

Designs of this project, out of known parts: dilated convolutions that see several sizes, a window
of earlier features, and squeeze-and-excitation gates (Hu et al., Squeeze-and-Excitation Networks,
2018, arXiv 1709.01507).

Shape shorthand: B streams, C channels, (h, w) the map, T steps of the temporal window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalldet.losses.iou import check_choice

# The T - 1 features before the current one, oldest first, each (B, C, h, w); None is zeros.
Window = tuple[Tensor | None, ...] | None

SMALL_STRIDE = 8  # px; up to here a level is one of small objects
QUARTER = 4
TEMPORAL_WEIGHTS = ("channels", "steps")


class MultiScaleSpatialAttention(nn.Module):
    """Where to look: a map in (0, 1) from 3x3 convolutions of several dilations.

    Args:
        channels: C.
        scales: dilation of each convolution in cells; each gives max(1, C // len(scales)) channels,
            and all of them together are reduced to a quarter of themselves.

    Raises:
        ValueError: no scales.
    """

    def __init__(self, channels: int, scales: Sequence[int] = (1, 2, 4)) -> None:
        super().__init__()
        if not scales:
            raise ValueError("scales is empty; name the dilations of the convolutions, as (1, 2).")
        width = max(1, channels // len(scales))
        combined = width * len(scales)
        quarter = max(1, combined // QUARTER)
        self.scale_convs = nn.ModuleList(
            nn.Conv2d(channels, width, 3, padding=scale, dilation=scale) for scale in scales
        )
        self.reduce_conv = nn.Conv2d(combined, quarter, 3, padding=1)
        self.map_conv = nn.Conv2d(quarter, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, C, h, w) times its map, plus ``x``."""
        scales = torch.cat([F.silu(conv(x)) for conv in self.scale_convs], dim=1)
        return x * self.map_conv(F.silu(self.reduce_conv(scales))).sigmoid() + x


class EventTemporalAttention(nn.Module):
    """What moves: a window of steps, mixed in time, weighed, and added where the features change.

    Two fully connected layers look at the mean of what was mixed. They weigh its channels,
    each by 0 to 1, whatever the step; or its steps, by a sum of 1.

    Where the window reaches back beyond the start of a recording it holds zeros. The first step
    therefore looks like all of its content had just appeared, and a state of zeros is the same as
    none, so that a stream is started anew by masking its state.

    Args:
        channels: C.
        temporal_window: T, the current step and those before it.
        weights: "channels" (which of them matter; the window's mean is added) or "steps" (which
            frames matter).

    Raises:
        ValueError: a window that holds no earlier step, or unknown weights.
    """

    def __init__(
        self, channels: int, temporal_window: int = 3, weights: str = TEMPORAL_WEIGHTS[0]
    ) -> None:
        super().__init__()
        check_choice("weights", weights, TEMPORAL_WEIGHTS)
        if temporal_window < 2:
            raise ValueError(
                f"temporal_window={temporal_window}: a window holds the current step and at least "
                "one before it, so 2 or more; without memory set attention_temporal=False."
            )
        self.temporal_window = temporal_window
        self.temporal_conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))
        self.motion_conv = nn.Conv2d(2 * channels, 1, 3, padding=1)
        self.of_steps = weights == "steps"
        hidden = max(1, channels // QUARTER)
        self.fc1 = nn.Linear(channels * temporal_window if self.of_steps else channels, hidden)
        self.fc2 = nn.Linear(hidden, temporal_window if self.of_steps else channels)

    def forward(self, x: Tensor, window: Window = None) -> tuple[Tensor, Window]:
        """``x`` (B, C, h, w) plus its motion, and the window for the next step.

        Raises:
            ValueError: the window is of other maps or of another length.
        """
        earlier = self._filled(x, window)
        steps = [*earlier, x]
        mixed = self._over_time(torch.stack(steps, dim=2))  # (B, C, T, h, w)
        motion = self.motion_conv(torch.cat([x, earlier[-1]], dim=1)).sigmoid()
        return x + motion * self._weighed(mixed), tuple(steps[1:])

    def _over_time(self, x: Tensor) -> Tensor:
        """``temporal_conv`` of ``x`` (B, C, T, h, w), as a 2-D convolution over (T, h * w).

        The same numbers; on CPUs with AMX the bf16 gradient of the 3-D one can hang (torch 2.11).
        """
        weight, bias = self.temporal_conv.weight.flatten(3), self.temporal_conv.bias
        return F.conv2d(x.flatten(3), weight, bias, padding=(1, 0)).unflatten(3, x.shape[3:])

    def _weighed(self, mixed: Tensor) -> Tensor:
        """(B, C, h, w) of ``mixed`` (B, C, T, h, w): its weighed steps or channels, over time."""
        pooled = mixed.mean(dim=(-2, -1))  # (B, C, T)
        pooled = pooled.flatten(1) if self.of_steps else pooled.mean(dim=2)
        weights = self.fc2(F.silu(self.fc1(pooled)))
        if self.of_steps:
            return (mixed * weights.softmax(dim=-1)[:, None, :, None, None]).sum(dim=2)
        return mixed.mean(dim=2) * weights.sigmoid()[:, :, None, None]

    def _filled(self, x: Tensor, window: Window) -> list[Tensor]:
        """The earlier features in the type of ``x``, zeros in the place of missing ones."""
        length = self.temporal_window - 1
        kept = [None] * length if window is None else list(window)
        shapes = {tuple(past.shape) for past in kept if past is not None}
        if len(kept) != length or shapes - {tuple(x.shape)}:
            raise ValueError(
                f"The state holds {len(kept)} earlier features of shape {sorted(shapes)}, but this "
                f"attention needs {length} of {tuple(x.shape)}. Start the streams anew (None) "
                "after a change of model, input size or number of streams."
            )
        return [torch.zeros_like(x) if past is None else past.to(x.dtype) for past in kept]


class ScaleAwareChannelAttention(nn.Module):
    """Which channels count: a gate in (0, 1) for each, narrower inside at small strides.

    At strides up to 8 the gates start out in favour of high frequencies. Average pooling keeps
    only the frequency zero of a channel, so by Parseval's theorem, of two channels of the same
    energy the one with the smaller mean has the more energy at other frequencies. Each hidden unit
    starts as the mean of its own group of channels, and lowers the gates of that group where it is
    positive: a broad, even response is held back, and a sparse or alternating one, as small objects
    give, is not.
    At larger strides the layers start at random.

    Args:
        channels: C.
        stride: of the map, px.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        reduction = 16 if stride <= SMALL_STRIDE else 8
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        if stride <= SMALL_STRIDE:
            self._favour_high_frequencies()

    def gates(self, x: Tensor) -> Tensor:
        """Gates (B, C) of the channels of ``x`` (B, C, h, w)."""
        return self.fc2(F.relu(self.fc1(x.mean(dim=(-2, -1))))).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, C, h, w) times its gates."""
        return x * self.gates(x)[:, :, None, None]

    @torch.no_grad()
    def _favour_high_frequencies(self) -> None:
        hidden, channels = self.fc1.weight.shape
        # Channel c is in group c % hidden.
        group = F.one_hot(torch.arange(channels) % hidden, hidden).float()  # (C, hidden)
        self.fc1.weight.copy_((group / group.sum(dim=0)).T)
        self.fc2.weight.copy_(-group)
        self.fc1.bias.zero_()
        self.fc2.bias.zero_()


class SmallObjectAttentionModule(nn.Module):
    """Attention in space, then in time, then a 1x1 convolution that integrates the two.

    The convolution exists where both are on. It sees the result of each, what was brought out in
    space and the same with its motion, and starts as their average, so that features pass.

    Args:
        channels: C.
        enable_spatial: have attention in space.
        enable_temporal: have attention in time; the module then has a state.
        temporal_weights: "channels" or "steps"; see ``EventTemporalAttention``.

    Raises:
        ValueError: unknown weights.
    """

    def __init__(
        self,
        channels: int,
        enable_spatial: bool = True,
        enable_temporal: bool = True,
        temporal_weights: str = TEMPORAL_WEIGHTS[0],
    ) -> None:
        super().__init__()
        self.spatial = MultiScaleSpatialAttention(channels) if enable_spatial else None
        self.temporal = None
        if enable_temporal:
            self.temporal = EventTemporalAttention(channels, weights=temporal_weights)
        both = enable_spatial and enable_temporal
        self.integration_conv = _averaging_conv(channels) if both else None

    def forward(self, x: Tensor, window: Window = None) -> tuple[Tensor, Window]:
        """Attended ``x`` (B, C, h, w) and the next state, which is as it came without memory."""
        if self.spatial is not None:
            x = self.spatial(x)
        if self.temporal is None:
            return x, window
        moved, window = self.temporal(x, window)
        if self.integration_conv is not None:
            moved = self.integration_conv(torch.cat([x, moved], dim=1))
        return moved, window


def _averaging_conv(channels: int) -> nn.Conv2d:
    """A 1x1 convolution of two maps of C channels each that starts as their average."""
    conv = nn.Conv2d(2 * channels, channels, 1, bias=False)
    half = torch.eye(channels) / 2
    with torch.no_grad():
        conv.weight.copy_(torch.cat([half, half], dim=1)[:, :, None, None])
    return conv
