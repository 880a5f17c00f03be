"""Example: a Cascade R-CNN head on RVT-B, through time, for event recordings.

Any backbone goes with any head; what differs from configs/etram is ``model`` alone.
Hypothesis: Refined boxes raise AP at high IoU, at a higher cost a step.
Run: tools/lazyconfig_train_net.py --config-file configs/examples/cascade_rcnn_rvt.py
"""

from detectron2.config import LazyCall as L

from labbook.config.experiment import Experiment
from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.heads.rcnn import RCNNHead
from smalldet.necks.pafpn import PAFPN

from ..common.backbones.rvt import rvt_base as _rvt_base
from ..common.data.etram import dataloader, dataset, evaluation
from ..common.models.cascade_rcnn import proposal_generator as _proposal_generator
from ..common.models.cascade_rcnn import roi_heads as _roi_heads
from ..common.optim import adamw as optimizer
from ..common.schedule import one_cycle as lr_multiplier
from ..common.train_steps import train

_proposal_generator.anchor_generator.sizes = [[16], [32], [64], [128]]  # half, as the resolution
_roi_heads.num_classes = 8

model = L(RecurrentDetector)(
    backbone=L(PAFPN)(bottom_up=_rvt_base, in_stages=[1, 2, 3, 4], depth=0.67),
    head=L(RCNNHead)(
        parts=dict(proposal_generator=_proposal_generator, roi_heads=_roi_heads),
        projected_channels=256,
    ),
)
optimizer.lr = 1.7320508e-4
optimizer.weight_decay = 0.0

experiment = L(Experiment)(
    name="example_cascade_rcnn_rvt",
    study="examples",
    level="Cascade R-CNN on RVT-B",
)
