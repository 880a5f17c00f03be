"""Detectron2's two-stage detector as a head of any backbone.

Ren et al., Faster R-CNN, 2015, arXiv 1506.01497; Cai and Vasconcelos, Cascade R-CNN, 2018,
arXiv 1712.00726. Boxes are xyxy_abs in px of the network's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Self, cast

import torch
from detectron2.config import instantiate
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.structures import ImageList, Instances
from omegaconf import OmegaConf
from torch import Tensor, nn

from smalldet.heads.base import HEAD_REGISTRY, Head
from smalldet.heads.rcnn_shapes import feature_width, fill_shapes, proposal_levels


@HEAD_REGISTRY.register()
class RCNNHead(Head):
    """Detectron2's RPN and ROI heads behind the contract of a head.

    Args:
        parts: LazyCalls ``proposal_generator`` and ``roi_heads``, as in
            ``configs/common/models/cascade_rcnn.py``. Each "???" in them follows from the
            backbone (see ``fill_shapes``). They are a plain dict, so that ``instantiate`` leaves
            them to :meth:`build`.
        projected_channels: where levels differ in channels, 1x1 convolutions bring each to this
            number; unused where they agree.

    Attributes:
        proposal_generator: Detectron2's RPN.
        roi_heads: Detectron2's ROI heads.
        projections: 1x1 convolutions by level; empty where all levels agree in channels.
    """

    proposal_generator: Any
    roi_heads: Any

    def __init__(self, parts: Mapping[str, Any], projected_channels: int = 256) -> None:
        super().__init__()
        self._parts = _plain(parts)
        self.num_classes = self._parts["roi_heads"]["num_classes"]
        self.projected_channels = projected_channels

    def build(self, input_shape: Mapping[str, ShapeSpec]) -> Self:
        """As :class:`Head`: fill in what follows from the levels, and instantiate the parts."""
        parts = deepcopy(self._parts)
        levels = proposal_levels(input_shape, parts["proposal_generator"]["in_features"])
        width = feature_width(levels, self.projected_channels)
        fill_shapes(parts, levels, width)
        self.projections = nn.ModuleDict(
            {
                name: Conv2d(shape.channels, width, kernel_size=1)
                for name, shape in levels.items()
                if shape.channels != width
            }
        )
        self.proposal_generator = instantiate(parts["proposal_generator"])
        self.roi_heads = instantiate(parts["roi_heads"])
        return self

    def losses(
        self, features: Mapping[str, Tensor], instances: Sequence[Instances]
    ) -> dict[str, Tensor]:
        """As :class:`Head`; in an image without objects all anchors and proposals are background.

        Raises:
            RuntimeError: the head is in eval mode, where Detectron2's modules make no losses.
        """
        if not self.training:
            raise RuntimeError("losses() was called in eval mode. Call train() on the model first.")
        features = self._projected(features)
        images = _sizes_only([i.image_size for i in instances])
        targets = list(instances)
        proposals, proposal_losses = self.proposal_generator(images, features, targets)
        _, box_losses = self.roi_heads(images, features, proposals, targets)
        return {**box_losses, **proposal_losses}

    def predict(
        self, features: Mapping[str, Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> list[Instances]:
        self.require_eval()
        features = self._projected(features)
        images = _sizes_only(image_sizes)
        proposals, _ = self.proposal_generator(images, features, None)
        return self.roi_heads(images, features, proposals, None)[0]

    def _projected(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: self.projections[name](x) if name in self.projections else x
            for name, x in features.items()
        }


def _sizes_only(image_sizes: Sequence[tuple[int, int]]) -> ImageList:
    """An ImageList as Detectron2's heads ask for one; of it they read the sizes only."""
    return ImageList(torch.empty(0), [(int(h), int(w)) for h, w in image_sizes])


def _plain(parts: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in dicts and lists, interpolations resolved, each "???" left."""
    if not OmegaConf.is_config(parts):
        parts = OmegaConf.create(dict(parts), flags={"allow_objects": True})
    return cast(dict[str, Any], OmegaConf.to_container(parts, resolve=True))
