"""Question: does fine-tuning help Swin-Tiny as much as ViM-Tiny?
Hypothesis: AP above frozen features; 0.001 is high for a pretrained Swin, which may forget.
Run: tools/lab.py run backbones --only swin_tiny_finetuned
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("swin_tiny_frozen.py"))

model.backbone.bottom_up.frozen = False
experiment.update(
    parent="backbones_swin_tiny_frozen",
    factors=["model.backbone.bottom_up.frozen"],
    level="Swin-Tiny, fine-tuned",
)
