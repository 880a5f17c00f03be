"""Detectron2's R-CNN modules, put together from settings and declared shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.proposal_generator.rpn import StandardRPNHead
from detectron2.modeling.roi_heads import CascadeROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers

from smalldet.heads.box_head import ConvFCBoxHead, FullPrecisionPooler

if TYPE_CHECKING:
    from smalldet.heads.rcnn import CascadeRCNN

BACKGROUND, IGNORED, FOREGROUND = 0, -1, 1


def feature_width(levels: Mapping[str, ShapeSpec], projected: int) -> int:
    """Channels that the heads work on: those of all levels, or ``projected`` where they differ."""
    declared = {shape.channels for shape in levels.values()}
    return declared.pop() if len(declared) == 1 else projected


def region_proposals(
    settings: CascadeRCNN,
    levels: Mapping[str, ShapeSpec],
    anchor_sizes: list[list[float]],
    width: int,
) -> RPN:
    """Region proposal network on ``levels``, each of ``width`` channels."""
    generator = DefaultAnchorGenerator(
        sizes=anchor_sizes,
        aspect_ratios=settings.aspect_ratios,
        strides=[shape.stride for shape in levels.values()],
        offset=0.0,
    )
    return RPN(
        in_features=list(levels),
        head=StandardRPNHead(
            in_channels=width,
            num_anchors=generator.num_anchors[0],
            conv_dims=settings.rpn_conv_dims,
        ),
        anchor_generator=generator,
        anchor_matcher=Matcher(
            settings.rpn_ious,
            [BACKGROUND, IGNORED, FOREGROUND],
            allow_low_quality_matches=True,
        ),
        box2box_transform=Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=settings.rpn_samples,
        positive_fraction=settings.rpn_positive_fraction,
        pre_nms_topk=tuple(settings.rpn_pre_nms_topk),
        post_nms_topk=tuple(settings.rpn_post_nms_topk),
        nms_thresh=settings.rpn_nms_threshold,
        smooth_l1_beta=settings.smooth_l1_beta,
    )


def box_stage_heads(
    settings: CascadeRCNN, levels: Mapping[str, ShapeSpec], width: int
) -> CascadeROIHeads:
    """The cascade's stages, pooling from ``levels``, each of ``width`` channels."""
    size = settings.pooler_resolution
    region = ShapeSpec(channels=width, height=size, width=size)
    box_heads = [_box_head(settings, region) for _ in settings.cascade_ious]
    return CascadeROIHeads(
        num_classes=settings.num_classes,
        batch_size_per_image=settings.box_samples,
        positive_fraction=settings.box_positive_fraction,
        box_in_features=list(levels),
        box_pooler=FullPrecisionPooler(
            output_size=size,
            scales=_scales(levels),
            sampling_ratio=settings.pooler_sampling_ratio,
            pooler_type="ROIAlignV2",
        ),
        box_heads=box_heads,
        box_predictors=[
            _predictor(settings, head.output_shape, weights)
            for head, weights in zip(box_heads, settings.box_weights, strict=True)
        ],
        proposal_matchers=[
            Matcher([iou], [BACKGROUND, FOREGROUND], allow_low_quality_matches=False)
            for iou in settings.cascade_ious
        ],
    )


def _box_head(settings: CascadeRCNN, region: ShapeSpec) -> ConvFCBoxHead:
    return ConvFCBoxHead(
        region,
        conv_dims=[settings.conv_dim] * settings.num_conv,
        fc_dims=[settings.fc_dim] * settings.num_fc,
        checkpoint=settings.checkpoint,
    )


def _predictor(
    settings: CascadeRCNN, features: ShapeSpec, weights: list[float]
) -> FastRCNNOutputLayers:
    return FastRCNNOutputLayers(
        features,
        box2box_transform=Box2BoxTransform(weights=tuple(weights)),
        num_classes=settings.num_classes,
        test_score_thresh=settings.score_threshold,
        test_nms_thresh=settings.nms_threshold,
        test_topk_per_image=settings.max_detections,
        cls_agnostic_bbox_reg=True,
        smooth_l1_beta=settings.smooth_l1_beta,
    )


def _scales(levels: Mapping[str, ShapeSpec]) -> list[float]:
    """Size of each level relative to the image; a pyramid of halves, as the pooler assumes."""
    strides = [shape.stride for shape in levels.values()]
    halves = [strides[0] * 2**i for i in range(len(strides))]
    if strides != halves or not math.log2(strides[0]).is_integer():
        raise ValueError(
            f"Boxes are pooled from {', '.join(levels)} with strides {strides}; each must be a "
            "power of two and twice the one before. Choose others by box_in_features."
        )
    return [1.0 / stride for stride in strides]
