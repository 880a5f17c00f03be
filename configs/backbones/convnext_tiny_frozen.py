"""Question: does a convolutional backbone of today find more heads than ViM-Tiny?
Hypothesis: AP above ResNet-50's: better features on the same strides.
Run: tools/lab.py run backbones --only convnext_tiny_frozen
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

from ..common.backbones.timm import convnext_tiny as _convnext_tiny
from ..common.models.pyramids import fpn as _fpn

model.backbone = _fpn
model.backbone.bottom_up = _convnext_tiny
experiment.update(
    parent="backbones_baseline",
    factors=["model.backbone"],
    level="ConvNeXt-Tiny, frozen",
)
