"""Question: what does a fine-tuned ResNet-50, every detector's usual start, reach?
Hypothesis: AP above frozen features; batch norms stay as pretrained, so 0.001 does no harm.
Run: tools/lab.py run backbones --only resnet50_finetuned
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("resnet50_frozen.py"))

model.backbone.bottom_up.frozen = False
experiment.update(
    parent="backbones_resnet50_frozen",
    factors=["model.backbone.bottom_up.frozen"],
    level="ResNet-50, fine-tuned",
)
