"""Question: does a transformer with maps of four strides find more heads than ViM-Tiny?
Hypothesis: AP near ConvNeXt-Tiny's; fine maps matter more than how they are mixed.
Run: tools/lab.py run backbones --only swin_tiny_frozen
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

from ..common.backbones.timm import swin_tiny as _swin_tiny
from ..common.models.pyramids import fpn as _fpn

model.backbone = _fpn
model.backbone.bottom_up = _swin_tiny
experiment.update(
    parent="backbones_baseline",
    factors=["model.backbone"],
    level="Swin-Tiny, frozen",
)
