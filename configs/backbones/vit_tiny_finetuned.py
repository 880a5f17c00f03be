"""Question: does fine-tuning help ViT-Tiny as much as ViM-Tiny?
Hypothesis: AP above frozen features; 0.001 is high for a pretrained ViT, which may forget.
Run: tools/lab.py run backbones --only vit_tiny_finetuned
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("vit_tiny_frozen.py"))

model.backbone.bottom_up.frozen = False
experiment.update(
    parent="backbones_vit_tiny_frozen",
    factors=["model.backbone.bottom_up.frozen"],
    level="ViT-Tiny, fine-tuned",
)
