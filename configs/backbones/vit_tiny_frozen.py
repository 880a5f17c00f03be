"""Question: does a ViT of ViM-Tiny's size and pretraining data find as many heads?
Hypothesis: AP near the baseline's: both have one map of stride 16, and neither learns.
Run: tools/lab.py run backbones --only vit_tiny_frozen
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

from ..common.backbones.timm import vit_tiny as _vit_tiny
from ..common.models.pyramids import simple_pyramid as _simple_pyramid

model.backbone = _simple_pyramid
model.backbone.bottom_up = _vit_tiny
experiment.update(
    parent="backbones_baseline",
    factors=["model.backbone"],
    level="ViT-Tiny, frozen",
)
