"""Cascade R-CNN on a simple feature pyramid (p2 to p6) over a frozen ViM-Tiny."""

from detectron2.config import LazyCall as L

from smalldet.detectors.generalized_rcnn import generalized_rcnn
from smalldet.heads.rcnn import CascadeRCNN
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid

from ..backbones.vim_tiny import vim_tiny

model = L(generalized_rcnn)(
    backbone=L(SimpleFeaturePyramid)(
        bottom_up=vim_tiny,
        out_channels=256,
        checkpoint=False,  # true: less memory, more time, the same numbers (head included)
    ),
    head=L(CascadeRCNN)(
        num_classes="${length:${dataset.classes}}",
        anchor_sizes=[[32], [64], [128], [256], [512]],  # small heads: [[16], ..., [256]]
        checkpoint="${model.backbone.checkpoint}",
    ),
)
