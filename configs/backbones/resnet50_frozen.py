"""Question: does a ResNet-50, as accurate on ImageNet as ViM-Tiny, find more heads?
Hypothesis: Its maps of strides 4 and 8 show small heads that patches of 16 px lose.
Run: tools/lab.py run backbones --only resnet50_frozen
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

from ..common.backbones.timm import resnet50 as _resnet50
from ..common.models.pyramids import fpn as _fpn

model.backbone = _fpn
model.backbone.bottom_up = _resnet50
experiment.update(
    parent="backbones_baseline",
    factors=["model.backbone"],
    level="ResNet-50, frozen",
)
