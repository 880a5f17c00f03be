"""Baseline of the study of backbones: that of OFAT, a frozen ViM-Tiny, also scored on tiles.

Every other config has its recipe, Cascade R-CNN on the levels p2 to p6 included.
Hypothesis: Frozen ViM-Tiny features carry enough detail to find heads of all sizes.
Run: tools/lab.py run backbones --only baseline
"""

from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from labbook.config.experiment import Experiment

globals().update(LazyConfig.load_rel("../ofat/baseline_lr0.001_bs8_adamw_ep100.py"))

model.proposal_generator.anchor_generator.strides = [4, 8, 16, 32, 64]  # whatever the backbone
evaluation.valid.tile = evaluation.test.tile = 320  # px of the image: the input shows twice as much

experiment = L(Experiment)(level="ViM-Tiny, frozen")
