"""Example: small heads on photographs, from scratch, in minutes on a CPU.

What a frozen, patch-wise backbone cannot learn: trained maps of stride 4 made from pixels, images
that keep their aspect ratio, and cells that learn without anchors.
Hypothesis: Trained fine maps find small objects sooner than a larger frozen backbone does.
Run: tools/lazyconfig_train_net.py --config-file configs/examples/small_heads.py
"""

from detectron2.config import LazyCall as L

from labbook.config.experiment import Experiment
from smalldet.backbones.timm import TimmBackbone
from smalldet.detectors.image import ImageDetector
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.pafpn import PAFPN

from ..common.data.heads import dataloader, dataset, evaluation
from ..common.optim import adamw as optimizer
from ..common.schedule import one_cycle as lr_multiplier
from ..common.train import train

model = L(ImageDetector)(
    backbone=L(PAFPN)(
        bottom_up=L(TimmBackbone)(
            model_name="regnetx_002",  # 0.24 million parameters up to stride 16
            out_indices=[1, 2, 3],
        ),
        in_stages=[1, 2, 3],
        depth=0.33,
    ),
    head=L(YOLOXHead)(
        num_classes="${length:${dataset.classes}}",
        in_features=["stride4", "stride8", "stride16"],
        width=32,  # most of the cost lies in the cells of stride 4
        score_threshold=0.001,  # AP counts weak detections too
        max_detections=100,
    ),
)
dataloader.image_size = 384
dataloader.resize = "keep_aspect"
optimizer.weight_decay = 0.05
train.update(epochs=10, total_batch_size=4, micro_batch_size=4, clip_grad_norm=10.0)

experiment = L(Experiment)(
    name="example_small_heads",
    study="examples",
    level="YOLOX on RegNetX-200MF, strides 4 to 16",
)
