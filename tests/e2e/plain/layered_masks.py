"""Masks, and learning rates that fall with the layer by a partial, as ViTDet's configs have."""

from functools import partial

import torch
from detectron2 import model_zoo
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec

from plain.layer_rates import layer_rate, parameters_by_layer

from .retinanet import dataloader, lr_multiplier, train  # noqa: F401

LEVELS = ["p2", "p3", "p4"]
dataloader.train.mapper.use_instance_mask = True
model = model_zoo.get_config("common/models/mask_rcnn_fpn.py").model
model.backbone.bottom_up.stem.norm = model.backbone.bottom_up.stages.norm = "BN"
model.backbone.bottom_up.stages.depth = 18
model.backbone.bottom_up.stages.pop("stride_in_1x1")
model.backbone.bottom_up.out_features = ["res2", "res3", "res4"]
model.backbone.top_block = None
model.backbone.out_channels = model.proposal_generator.head.in_channels = 32
model.proposal_generator.update(pre_nms_topk=[50, 50], post_nms_topk=[20, 20])
model.proposal_generator.anchor_generator.update(sizes=[[32], [64], [128]], strides=[4, 8, 16])
heads = model.roi_heads
heads.box_in_features = heads.mask_in_features = model.proposal_generator.in_features = LEVELS
heads.box_pooler.scales = heads.mask_pooler.scales = [1 / 4, 1 / 8, 1 / 16]
heads.batch_size_per_image = 16
heads.box_head.fc_dims = [32, 32]
heads.box_predictor.input_shape = L(ShapeSpec)(channels=32)
heads.box_head.input_shape = L(ShapeSpec)(channels=32, height=7, width=7)
heads.mask_head.input_shape = L(ShapeSpec)(channels=32, height=14, width=14)
heads.mask_head.conv_dims = [32, 32]
heads.box_predictor.update(test_topk_per_image=5, test_score_thresh=0.0)
optimizer = L(torch.optim.AdamW)(
    params=L(parameters_by_layer)(
        base_lr="${..lr}", lr_factor_func=partial(layer_rate, num_layers=4, lr_decay_rate=0.7)
    ),
    lr=1e-4,
)
train.amp.enabled = True
