"""Example: a YOLOX head on the frozen ViM-Tiny and its feature pyramid, for head detection.

Any backbone goes with any head; what differs from configs/ofat is ``model``, and clipping.
Hypothesis: Without anchors, small heads are found as well.
Run: tools/lazyconfig_train_net.py --config-file configs/examples/yolox_vim_tiny.py
"""

from detectron2.config import LazyCall as L

from labbook.config.experiment import Experiment
from smalldet.detectors.image import ImageDetector
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid

from ..common.backbones.vim_tiny import vim_tiny as _vim_tiny
from ..common.data.heads import dataloader, dataset, evaluation
from ..common.optim import adamw as optimizer
from ..common.schedule import multi_step as lr_multiplier
from ..common.train import train

model = L(ImageDetector)(
    backbone=L(SimpleFeaturePyramid)(bottom_up=_vim_tiny, out_channels=256),
    head=L(YOLOXHead)(
        num_classes="${length:${dataset.classes}}",
        in_features=["p2", "p3", "p4", "p5"],  # heads need no stride of 64 px
        width=128,
        score_threshold=0.001,  # AP counts weak detections too
        max_detections=100,
    ),
)
train.clip_grad_norm = 10.0

experiment = L(Experiment)(
    name="example_yolox_vim_tiny",
    study="examples",
    level="YOLOX on ViM-Tiny",
)
