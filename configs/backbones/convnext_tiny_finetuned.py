"""Question: does fine-tuning help ConvNeXt-Tiny as much as ViM-Tiny?
Hypothesis: The best AP of the study, if 0.001 does not make it forget its pretraining.
Run: tools/lab.py run backbones --only convnext_tiny_finetuned
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("convnext_tiny_frozen.py"))

model.backbone.bottom_up.frozen = False
experiment.update(
    parent="backbones_convnext_tiny_frozen",
    factors=["model.backbone.bottom_up.frozen"],
    level="ConvNeXt-Tiny, fine-tuned",
)
