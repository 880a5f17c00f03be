"""A RetinaNet as users of Detectron2 write one, at toy size; no section or key of ours."""

from detectron2 import model_zoo

dataloader = model_zoo.get_config("common/data/coco.py").dataloader
lr_multiplier = model_zoo.get_config("common/coco_schedule.py").lr_multiplier_1x
model = model_zoo.get_config("common/models/retinanet.py").model
optimizer = model_zoo.get_config("common/optim.py").SGD
train = model_zoo.get_config("common/train.py").train

model.backbone.bottom_up.stages.depth = 18
model.backbone.bottom_up.stages.stride_in_1x1 = False
model.backbone.bottom_up.stages.res2_out_channels = 64
