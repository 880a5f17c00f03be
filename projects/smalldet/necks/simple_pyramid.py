"""The simple feature pyramid: several scales out of one map.

Li et al., Exploring Plain Vision Transformer Backbones for Object Detection, 2022,
arXiv 2203.16527, section 3. Module names and numbers are those of Detectron2's later releases,
so that weights move freely between the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import Backbone
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recompute

from smalldet.layers.conv3x3 import Conv3x3
from smalldet.layers.norms import ChannelLayerNorm
from smalldet.necks.base import Neck


@BACKBONE_REGISTRY.register()
class SimpleFeaturePyramid(Neck):
    """Maps at other strides from a single one, plus one level by subsampling.

    From a stride-16 map the defaults give p2, p3, p4, p5 (strides 4, 8, 16, 32; modules
    ``simfp_2`` to ``simfp_5``) and p6 (stride 64, every second pixel of p5, no parameters).

    Args:
        bottom_up: backbone whose ``output_shape()`` declares ``in_feature``.
        in_feature: name of its map to build on; the stride must be a power of two.
        out_channels: channels of every level.
        scale_factors: size of each level relative to the map, finest first; of 4, 2, 1 and 0.5.
        checkpoint: recompute the levels in the backward pass instead of keeping their
            activations: less memory, more time, the same numbers.

    Raises:
        ValueError: an unknown ``in_feature``, stride or scale factor.
    """

    def __init__(
        self,
        bottom_up: Backbone,
        in_feature: str = "last_feat",
        out_channels: int = 256,
        scale_factors: Sequence[float] = (4, 2, 1, 0.5),
        checkpoint: bool = False,
    ) -> None:
        super().__init__(bottom_up)
        source = _declared(bottom_up, in_feature)
        self.in_feature = in_feature
        self.checkpoint = checkpoint
        self._out_channels = out_channels
        strides = pyramid_strides(source.stride, scale_factors)
        self._strides = {f"p{int(math.log2(stride))}": stride for stride in strides}
        for name, scale in zip(self._strides, scale_factors, strict=False):  # p6 has none
            resampling, channels = _resampling(source.channels, scale)
            convs = (
                Conv2d(channels, out_channels, kernel_size=1, **_normed(out_channels)),
                Conv3x3(out_channels, out_channels, **_normed(out_channels)),
            )
            self.add_module(f"simfp_{name[1:]}", nn.Sequential(*resampling, *convs))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride by level name, finest first."""
        return {
            name: ShapeSpec(channels=self._out_channels, stride=stride)
            for name, stride in self._strides.items()
        }

    def fuse(self, features: dict[str, Tensor], state: Any = None) -> tuple[dict[str, Tensor], Any]:
        """Levels (B, out_channels, H / stride, W / stride) from the map ``in_feature``.

        Halving rounds down for p5 and up for p6. The state is returned as it came.
        """
        source = features[self.in_feature]
        *names, subsampled = self._strides
        levels = {name: self._level(name, source) for name in names}
        levels[subsampled] = F.max_pool2d(levels[names[-1]], kernel_size=1, stride=2)
        return levels, state

    def _level(self, name: str, source: Tensor) -> Tensor:
        layers = self.get_submodule(f"simfp_{name[1:]}")
        if self.checkpoint and torch.is_grad_enabled():
            return cast(Tensor, recompute(layers, source, use_reentrant=False))
        return layers(source)


def _declared(bottom_up: Backbone, name: str) -> ShapeSpec:
    shapes = bottom_up.output_shape()
    if name not in shapes:
        raise ValueError(
            f"in_feature is {name!r}, but {type(bottom_up).__name__} declares "
            f"{', '.join(sorted(shapes))}. Name one of these."
        )
    return shapes[name]


def pyramid_strides(stride: int, scale_factors: Sequence[float]) -> list[int]:
    """Strides of the levels that a map of ``stride`` (px) is scaled to, and of one more.

    Raises:
        ValueError: a level's stride is no power of two; that power names the level.
    """
    strides = [stride / scale for scale in scale_factors]
    for scale, scaled in zip(scale_factors, strides, strict=True):
        if not math.log2(scaled).is_integer():
            raise ValueError(
                f"A map of stride {stride} scaled by {scale} has stride {scaled:g}; levels are "
                "named by the power of two of their stride. Choose a map with such a stride."
            )
    return [int(scaled) for scaled in (*strides, 2 * strides[-1])]


def _resampling(channels: int, scale: float) -> tuple[list[nn.Module], int]:
    """Layers that bring a map to ``scale`` times its size, and the channels they leave."""
    half, quarter = channels // 2, channels // 4
    if scale == 4:
        first = nn.ConvTranspose2d(channels, half, kernel_size=2, stride=2)
        second = nn.ConvTranspose2d(half, quarter, kernel_size=2, stride=2)
        return [first, ChannelLayerNorm(half), nn.GELU(), second], quarter
    if scale == 2:
        return [nn.ConvTranspose2d(channels, half, kernel_size=2, stride=2)], half
    if scale == 1:
        return [], channels
    if scale == 0.5:
        return [nn.MaxPool2d(kernel_size=2, stride=2)], channels
    raise ValueError(f"scale_factors holds {scale}; this pyramid knows 4, 2, 1 and 0.5.")


def _normed(channels: int) -> dict[str, Any]:
    return {"bias": False, "norm": ChannelLayerNorm(channels)}
