"""A Faster R-CNN as users of Detectron2 write one, at toy size."""

from .layered_masks import dataloader, lr_multiplier, model, train  # noqa: F401
from .retinanet import optimizer  # noqa: F401

dataloader.train.mapper.use_instance_mask = False
for name in ("mask_in_features", "mask_pooler", "mask_head"):
    model.roi_heads.pop(name)
train.amp.enabled = False
