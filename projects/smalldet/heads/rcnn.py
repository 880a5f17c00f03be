"""Cascade R-CNN: the settings, and the head that they build out of Detectron2's own modules.

Ren et al., Faster R-CNN, 2015, arXiv 1506.01497; Cai and Vasconcelos, Cascade R-CNN, 2018,
arXiv 1712.00726. Boxes are xyxy_abs in pixels of the network input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from smalldet.heads.rcnn_parts import box_stage_heads, feature_width, region_proposals
from smalldet.heads.registry import HEAD_REGISTRY

PROPOSALS_ONLY_ABOVE = 32  # stride, px; as in FPN, p6 serves the proposals and not the boxes
ANCHOR_PER_STRIDE = 8  # 32 px on stride 4 up to 512 px on stride 64


@dataclass
class CascadeRCNN:
    """Settings of a Cascade R-CNN with class-agnostic boxes and no masks.

    The defaults are those of ViTDet's Cascade R-CNN (Li et al., 2022, arXiv 2203.16527), for one
    class. Strides, channels and scales come from the backbone. Sequences may be lists, tuples
    or OmegaConf lists.

    Attributes:
        num_classes: foreground classes.
        in_features: levels that proposals are made on; None: all that the backbone declares.
        box_in_features: levels that boxes are pooled from; None: those of ``in_features`` with a
            stride of at most 32 px.
        projected_channels: where levels differ in channels, 1x1 convolutions bring each to this
            number; unused where they agree.
        anchor_sizes: px, one list a level, finest level first; None: 8 x the stride of the level,
            which on p2 to p6 is [[32], [64], [128], [256], [512]].
        aspect_ratios: height / width of the anchors.
        rpn_conv_dims: channels of the proposal head's 3x3 convolutions; -1: as their input.
        rpn_ious: below the first an anchor is background, from the second on foreground.
        rpn_samples: anchors sampled an image for the loss.
        rpn_positive_fraction: largest share of foreground among them.
        rpn_pre_nms_topk: best proposals kept a level before NMS (training, inference).
        rpn_post_nms_topk: best proposals kept an image after NMS (training, inference).
        rpn_nms_threshold: IoU above which the weaker of two proposals goes.
        cascade_ious: foreground IoU of each stage; as many stages as values.
        box_weights: scale of the (dx, dy, dw, dh) targets of each stage.
        box_samples: proposals sampled an image for the first stage.
        box_positive_fraction: largest share of foreground among them.
        smooth_l1_beta: where the box losses turn from quadratic to linear; 0 is L1.
        pooler_resolution: cells along each side of a pooled region.
        pooler_sampling_ratio: samples along each side of a cell; 0: as many as there are pixels.
        num_conv: 3x3 convolutions of each stage.
        conv_dim: their channels.
        num_fc: linear layers of each stage, after the convolutions.
        fc_dim: their width.
        score_threshold: detections below this score are dropped.
        nms_threshold: IoU above which the weaker of two detections of a class goes.
        max_detections: best detections kept an image.
        checkpoint: recompute the stages' layers in the backward pass to save memory.
    """

    num_classes: int = 1
    in_features: Sequence[str] | None = None
    box_in_features: Sequence[str] | None = None
    projected_channels: int = 256
    anchor_sizes: Sequence[Sequence[float]] | None = None
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0)
    rpn_conv_dims: Sequence[int] = (-1, -1)
    rpn_ious: Sequence[float] = (0.3, 0.7)
    rpn_samples: int = 256
    rpn_positive_fraction: float = 0.5
    rpn_pre_nms_topk: Sequence[int] = (2000, 1000)
    rpn_post_nms_topk: Sequence[int] = (1000, 1000)
    rpn_nms_threshold: float = 0.7
    cascade_ious: Sequence[float] = (0.5, 0.6, 0.7)
    box_weights: Sequence[Sequence[float]] = ((10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15))
    box_samples: int = 512
    box_positive_fraction: float = 0.25
    smooth_l1_beta: float = 0.0
    pooler_resolution: int = 7
    pooler_sampling_ratio: int = 0
    num_conv: int = 4
    conv_dim: int = 256
    num_fc: int = 1
    fc_dim: int = 1024
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100
    checkpoint: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            setattr(self, field.name, _plain(getattr(self, field.name)))
        if self.num_classes < 1:
            raise ValueError(f"num_classes is {self.num_classes}; give at least one class.")
        if len(self.box_weights) != len(self.cascade_ious):
            raise ValueError(
                f"cascade_ious has {len(self.cascade_ious)} stages and box_weights "
                f"{len(self.box_weights)}; give one entry a stage in both."
            )
        if any(len(weights) != 4 for weights in self.box_weights):
            raise ValueError(f"box_weights is {self.box_weights}; give dx, dy, dw, dh a stage.")
        for name in ("rpn_pre_nms_topk", "rpn_post_nms_topk", "rpn_ious"):
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name} is {getattr(self, name)}; give two values.")
        if self.num_conv + self.num_fc < 1:
            raise ValueError("num_conv and num_fc are both 0; a stage needs at least one layer.")

    def build(self, input_shape: Mapping[str, ShapeSpec]) -> RCNNHead:
        """Make the head for a backbone's ``output_shape()``.

        Raises:
            ValueError: the levels and these settings do not fit.
        """
        return RCNNHead(self, input_shape)

    def levels(self, input_shape: Mapping[str, ShapeSpec]) -> dict[str, ShapeSpec]:
        """Levels that proposals are made on, finest first."""
        chosen = _chosen(input_shape, self.in_features, "in_features")
        return dict(sorted(chosen.items(), key=lambda level: level[1].stride))

    def box_levels(self, levels: Mapping[str, ShapeSpec]) -> dict[str, ShapeSpec]:
        """Those of ``levels`` that boxes are pooled from, finest first."""
        names = self.box_in_features
        if names is None:
            names = [name for name, s in levels.items() if s.stride <= PROPOSALS_ONLY_ABOVE]
            names = names or list(levels)[:1]
        chosen = _chosen(levels, names, "box_in_features")
        return {name: shape for name, shape in levels.items() if name in chosen}

    def anchors(self, levels: Mapping[str, ShapeSpec]) -> list[list[float]]:
        """Anchor sizes (px) of each of ``levels``."""
        if self.anchor_sizes is None:
            return [[float(ANCHOR_PER_STRIDE * shape.stride)] for shape in levels.values()]
        if len(self.anchor_sizes) != len(levels):
            raise ValueError(
                f"anchor_sizes has {len(self.anchor_sizes)} lists, but proposals are made on "
                f"{len(levels)} levels ({', '.join(levels)}). Give one list a level, finest first."
            )
        if len({len(sizes) for sizes in self.anchor_sizes}) > 1:
            raise ValueError(
                f"anchor_sizes is {self.anchor_sizes}: all levels share one proposal head, so give "
                "each level the same number of sizes."
            )
        return [list(sizes) for sizes in self.anchor_sizes]


@HEAD_REGISTRY.register()
class RCNNHead(nn.Module):
    """Detectron2's RPN and CascadeROIHeads behind the contract of a head.

    Args:
        settings: what to build.
        input_shape: channels and stride by level name, as a backbone declares them.

    Attributes:
        proposal_generator: Detectron2's RPN.
        roi_heads: Detectron2's CascadeROIHeads.
        projections: 1x1 convolutions by level; empty where all levels agree in channels.
    """

    def __init__(self, settings: CascadeRCNN, input_shape: Mapping[str, ShapeSpec]) -> None:
        super().__init__()
        levels = settings.levels(input_shape)
        width = feature_width(levels, settings.projected_channels)
        self.projections = nn.ModuleDict(
            {
                name: Conv2d(shape.channels, width, kernel_size=1)
                for name, shape in levels.items()
                if shape.channels != width
            }
        )
        box_levels = settings.box_levels(levels)
        self.proposal_generator = region_proposals(
            settings, levels, settings.anchors(levels), width
        )
        self.roi_heads = box_stage_heads(settings, box_levels, width)

    def losses(
        self, features: Mapping[str, Tensor], instances: Sequence[Instances]
    ) -> dict[str, Tensor]:
        """Losses by name, scalars.

        Args:
            features: (B, C, H / stride, W / stride) by level name.
            instances: B images with ``gt_boxes`` and ``gt_classes``; none in an image is fine,
                all its anchors and proposals are background then.

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
        """Detections of B images: ``pred_boxes`` (px of the network input), scores, classes.

        Args:
            features: as in :meth:`losses`.
            image_sizes: (height, width) of each image without its padding.

        Raises:
            RuntimeError: the head is in training mode.
        """
        if self.training:
            raise RuntimeError("predict() was called in training mode. Call eval() first.")
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


def _chosen(
    shapes: Mapping[str, ShapeSpec], names: Sequence[str] | None, setting: str
) -> dict[str, ShapeSpec]:
    names = list(shapes) if names is None else names
    unknown = [name for name in names if name not in shapes]
    if unknown or not names:
        raise ValueError(
            f"{setting} is {list(names)}, but there are the levels {', '.join(shapes)}. "
            "Choose among these."
        )
    return {name: shapes[name] for name in names}


def _plain(value: Any) -> Any:
    """``value`` with every sequence in it, OmegaConf's included, as a list."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
