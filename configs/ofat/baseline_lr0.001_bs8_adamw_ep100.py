"""OFAT baseline: how well does a frozen ViM-Tiny find heads with Cascade R-CNN on top?

AdamW, lr 0.001, batch 8, 100 epochs: 100 x ceil(1271 / 8) = 15,900 steps.
Hypothesis: Frozen ViM-Tiny features carry enough detail to find heads of all sizes.
Run: ./run_single_ofat.sh baseline_lr0.001_bs8_adamw_ep100
"""

from detectron2.config import LazyCall as L
from labbook.config.experiment import Experiment

from ..common.data.heads import dataloader, dataset, evaluation
from ..common.models.cascade_rcnn_vim import model
from ..common.optim import adamw as optimizer
from ..common.schedule import multi_step as lr_multiplier
from ..common.train import train

train.best_metric = "bbox/AP50"  # the study's primary metric

experiment = L(Experiment)(level="baseline")
