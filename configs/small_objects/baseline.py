"""Baseline of the study small_objects: the OFAT baseline in classes that know more box losses.

Its numbers are the OFAT baseline's; losses and anchor metric are values to move.
Hypothesis: Frozen ViM-Tiny features carry enough detail to find heads of all sizes.
Run: tools/lab.py run small_objects --only baseline
"""

from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from labbook.config.experiment import Experiment
from smalldet.heads.rcnn_boxes import SmallObjectPredictor, SmallObjectRPN, box_loss_weight

globals().update(LazyConfig.load_rel("../ofat/baseline_lr0.001_bs8_adamw_ep100.py"))

model.proposal_generator.update(
    _target_=SmallObjectRPN,
    box_reg_loss_type="smooth_l1",
    assignment_metric="iou",
    nwd_size=32.0,  # px of the input, about the mean side of the objects; here the finest anchor
)
for stage in (0, 1, 2):
    model.roi_heads.box_predictors[stage].update(
        _target_=SmallObjectPredictor,
        box_reg_loss_type="${model.proposal_generator.box_reg_loss_type}",
        loss_weight=L(box_loss_weight)(
            box_reg_loss_type="${..box_reg_loss_type}",
            delta_weight="${..box2box_transform.weights.0}",
        ),
        nwd_size="${model.proposal_generator.nwd_size}",
    )

experiment = L(Experiment)(level="baseline")
