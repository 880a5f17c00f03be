"""A RetinaNet as users of Detectron2 write one, at toy size; no section or key of ours."""

from detectron2 import model_zoo

dataloader = model_zoo.get_config("common/data/coco.py").dataloader
lr_multiplier = model_zoo.get_config("common/coco_schedule.py").lr_multiplier_1x
model = model_zoo.get_config("common/models/retinanet.py").model
optimizer = model_zoo.get_config("common/optim.py").SGD
train = model_zoo.get_config("common/train.py").train

dataloader.train.mapper.use_instance_mask = False
model.backbone.bottom_up.freeze_at = 2
model.backbone.bottom_up.stem.norm = model.backbone.bottom_up.stages.norm = "BN"
model.backbone.bottom_up.stages.depth = 18
model.backbone.bottom_up.stages.pop("stride_in_1x1")
model.backbone.bottom_up.out_features = model.backbone.in_features = ["res2", "res3", "res4"]
model.backbone.top_block.update(in_channels=256, in_feature="res4")
model.head_in_features = ["p2", "p3", "p4", "p5", "p6"]
model.head.conv_dims = [32]
model.max_detections_per_image = 5
optimizer.lr = 0.0001
train.update(init_checkpoint="", device="cpu", max_iter=4, eval_period=2, log_period=1)
train.checkpointer.period = 2
train.fast_dev_run = dict(enabled=False)  # as other projects add keys
