"""The path aggregation pyramid of YOLOX, for any number of levels, with attention if wanted.

Liu et al., Path Aggregation Network for Instance Segmentation, 2018, arXiv 1803.01534, in the form
of Ge et al., YOLOX: Exceeding YOLO Series in 2021, 2021, arXiv 2107.08430. Parameter names are the
published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import Backbone
from torch import Tensor, nn
from torch.nn import functional as F

from smalldet.layers.conv_blocks import ConvBlock, CSPLayer, spatial_block
from smalldet.necks.attention import (
    TEMPORAL_WEIGHTS,
    ScaleAwareChannelAttention,
    SmallObjectAttentionModule,
    Window,
)
from smalldet.necks.base import Neck

State = tuple[Window, ...] | None  # an entry an attended level, finest first

NUM_ATTENDED = 2  # the finest levels, where small objects are


@BACKBONE_REGISTRY.register()
class PAFPN(Neck):
    """Fuses levels from coarse to fine, then from fine to coarse.

    Each fused level has the name, channels and stride of the level that it was made from. The
    convolutions between the three coarsest levels have the published names whatever the number of
    levels; finer ones continue the count: ``reduce_conv2``, ``C3_p2``, ``bu_conv3``, ``C3_n2``.

    Attention works on the fused levels, as the head will see them: ``SmallObjectAttentionModule``
    on the two finest, then ``ScaleAwareChannelAttention`` on all. With ``attention_temporal`` the
    neck has a state and runs on every step: for each of the two levels, finest first, the earlier
    features that its temporal attention looks back on.

    Args:
        bottom_up: backbone whose outputs are fused.
        in_stages: which of them: 1 is the finest that it declares. Two or more, in any order,
            each of twice the stride of the one before.
        depth: times 3, rounded, the bottlenecks in each CSP layer: 0.33 (RVT-T and RVT-S), 0.67
            (RVT-B) or 1.
        depthwise: 3x3 convolutions are depthwise.
        activation: "silu", "relu" or "lrelu".
        enable_small_object_attention: attention as above; off is the plain pyramid.
        attention_spatial: the two finest levels have attention in space.
        attention_temporal: they have attention in time.
        temporal_weights: of "channels" or "steps"; see ``EventTemporalAttention``.

    Raises:
        ValueError: stages that ``bottom_up`` lacks or whose strides do not double, an unknown
            activation or kind of weights, or a depth below one bottleneck.
    """

    def __init__(
        self,
        bottom_up: Backbone,
        in_stages: Sequence[int] = (2, 3, 4),
        depth: float = 0.67,
        depthwise: bool = False,
        activation: str = "silu",
        enable_small_object_attention: bool = False,
        attention_spatial: bool = True,
        attention_temporal: bool = True,
        temporal_weights: str = TEMPORAL_WEIGHTS[0],
    ) -> None:
        super().__init__(bottom_up)
        self._shapes = _chosen(bottom_up, in_stages)
        channels = [spec.channels for spec in self._shapes.values()]
        blocks, conv = _bottlenecks(depth), spatial_block(depthwise)
        self._names = [PartNames.of(step) for step in range(len(channels) - 1)]
        for names, fine, coarse in zip(self._names, channels[-2::-1], channels[:0:-1], strict=True):
            wide = 2 * fine
            self.add_module(names.reduce, ConvBlock(coarse, fine, 1, activation=activation))
            self.add_module(names.up, CSPLayer(wide, fine, blocks, depthwise, activation))
            self.add_module(names.halve, conv(fine, fine, 3, stride=2, activation=activation))
            self.add_module(names.down, CSPLayer(wide, coarse, blocks, depthwise, activation))
        # Behind the parts of the plain pyramid, which so start with the same weights either way.
        attended = list(self._shapes.values()) if enable_small_object_attention else []
        self.small_object_attention = nn.ModuleList(
            SmallObjectAttentionModule(
                spec.channels, attention_spatial, attention_temporal, temporal_weights
            )
            for spec in attended[:NUM_ATTENDED]
        )
        self.channel_attention = nn.ModuleList(
            ScaleAwareChannelAttention(spec.channels, spec.stride) for spec in attended
        )
        self.needs_every_step = enable_small_object_attention and attention_temporal

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of the chosen levels, finest first."""
        return dict(self._shapes)

    def fuse(
        self, features: dict[str, Tensor], state: State = None
    ) -> tuple[dict[str, Tensor], State]:
        """Fused levels (B, C, h, w) by name, and the next state.

        The side of each level must be half that of the finer one, rounded up.

        Raises:
            ValueError: the sizes are others, or the state is of another neck.
        """
        levels = self._paths([features[name] for name in self._shapes])
        windows = self._windows(state)
        for index, module in enumerate(self.small_object_attention):
            levels[index], windows[index] = module(levels[index], windows[index])
        for index, gate in enumerate(self.channel_attention):
            levels[index] = gate(levels[index])
        state = tuple(windows) if self.needs_every_step else state
        return dict(zip(self._shapes, levels, strict=True)), state

    def _paths(self, levels: list[Tensor]) -> list[Tensor]:
        """Fused levels, both given and returned finest first."""
        part = self.get_submodule
        x, reduced = levels[-1], []
        for names, finer in zip(self._names, levels[-2::-1], strict=True):
            reduced.append(part(names.reduce)(x))
            x = part(names.up)(torch.cat([_upsampled(reduced[-1], finer), finer], dim=1))
        fused = [x]
        for names, lateral in zip(reversed(self._names), reversed(reduced), strict=True):
            halved = part(names.halve)(fused[-1])
            fused.append(part(names.down)(torch.cat([halved, lateral], dim=1)))
        return fused

    def _windows(self, state: State) -> list[Window]:
        """What each attended level looks back on; nothing at the start or without memory."""
        number = len(self.small_object_attention)
        if state is None or not self.needs_every_step:
            return [None] * number
        if len(state) != number:
            raise ValueError(
                f"The state of the neck has {len(state)} entries; this one needs one for each of "
                f"its {number} levels with temporal attention. Is it another model's state?"
            )
        return list(state)


class PartNames(NamedTuple):
    """Published names of what lies between two neighbouring levels.

    Attributes:
        reduce: 1x1 convolution from the channels of the coarse level to those of the fine one.
        up: CSP layer that makes the fine level, from coarse to fine.
        halve: convolution of stride 2, which brings that level back to the size of the coarse one.
        down: CSP layer that makes the coarse level, from fine to coarse.
    """

    reduce: str
    up: str
    halve: str
    down: str

    @classmethod
    def of(cls, step: int) -> PartNames:
        """Names for the pair number ``step``, 0 being the two coarsest levels."""
        reduce = f"reduce_conv{step}" if step else "lateral_conv0"
        return cls(reduce, f"C3_p{4 - step}", f"bu_conv{step + 1}", f"C3_n{4 - step}")


def _chosen(bottom_up: Backbone, in_stages: Sequence[int]) -> dict[str, ShapeSpec]:
    """The chosen outputs of ``bottom_up``, finest first."""
    declared = sorted(bottom_up.output_shape().items(), key=lambda item: item[1].stride)
    stages = sorted(in_stages)
    if len(stages) < 2 or stages[0] < 1 or stages[-1] > len(declared):
        raise ValueError(
            f"in_stages={list(in_stages)}: expected two or more numbers from 1 to {len(declared)}, "
            f"since {type(bottom_up).__name__} declares {', '.join(name for name, _ in declared)}."
        )
    chosen = dict(declared[stage - 1] for stage in stages)
    strides = [declared[stage - 1][1].stride for stage in stages]
    if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        raise ValueError(
            f"in_stages={list(in_stages)} have the strides {strides}, but each level must have "
            "twice the stride of the one before. Choose neighbouring stages."
        )
    return chosen


def _bottlenecks(depth: float) -> int:
    """Number of bottlenecks in a CSP layer."""
    number = round(3 * depth)
    if number < 1:
        raise ValueError(
            f"depth={depth} leaves no bottleneck in a layer (3 * depth, rounded); set 0.33 or more."
        )
    return number


def _upsampled(x: Tensor, finer: Tensor) -> Tensor:
    """``x`` at twice the size, each cell repeated, cut to the size of ``finer``."""
    height, width = finer.shape[-2:]
    if x.shape[-2:] != (-(-height // 2), -(-width // 2)):
        raise ValueError(
            f"A level of {height}x{width} cells is followed by one of {x.shape[-2]}x{x.shape[-1]}; "
            "the sides must halve, rounded up. Pad the images to a multiple of the coarsest stride."
        )
    return F.interpolate(x, scale_factor=2.0, mode="nearest")[..., :height, :width]
