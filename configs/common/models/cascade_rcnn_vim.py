"""Cascade R-CNN on a simple feature pyramid (p2 to p6) over a frozen ViM-Tiny."""

from detectron2.config import LazyCall as L
from detectron2.modeling.meta_arch import GeneralizedRCNN

from smalldet.heads.rcnn_shapes import anchors_per_cell, pooler_scales
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid, pyramid_strides

from ..backbones.vim_tiny import vim_tiny
from .cascade_rcnn import proposal_generator, roi_heads

model = L(GeneralizedRCNN)(
    backbone=L(SimpleFeaturePyramid)(
        bottom_up=vim_tiny,
        out_channels=256,
        scale_factors=[4, 2, 1, 0.5],
        checkpoint=False,  # true: less memory, more time, the same numbers (box heads included)
    ),
    proposal_generator=proposal_generator,
    roi_heads=roi_heads,
    pixel_mean=[123.675, 116.28, 103.53],  # of ImageNet, RGB
    pixel_std=[58.395, 57.12, 57.375],
    input_format="RGB",
)

model.proposal_generator.in_features = ["p2", "p3", "p4", "p5", "p6"]
model.proposal_generator.anchor_generator.update(
    sizes=[[32], [64], [128], [256], [512]],  # small heads: [[16], ..., [256]]
    strides=L(pyramid_strides)(
        stride="${model.backbone.bottom_up.patch_size}",
        scale_factors="${model.backbone.scale_factors}",
    ),
)
model.proposal_generator.head.update(
    in_channels="${model.backbone.out_channels}",
    num_anchors=L(anchors_per_cell)(
        sizes="${...anchor_generator.sizes}",
        aspect_ratios="${...anchor_generator.aspect_ratios}",
        strides="${...anchor_generator.strides}",
    ),
)
model.roi_heads.update(
    num_classes="${length:${dataset.classes}}", box_in_features=["p2", "p3", "p4", "p5"]
)
model.roi_heads.box_pooler.scales = L(pooler_scales)(
    box_in_features="${...box_in_features}",
    in_features="${model.proposal_generator.in_features}",
    strides="${model.proposal_generator.anchor_generator.strides}",
)
model.roi_heads.box_heads[0].input_shape.channels = "${model.backbone.out_channels}"
model.roi_heads.box_heads[0].checkpoint = "${oc.select:model.backbone.checkpoint,false}"
