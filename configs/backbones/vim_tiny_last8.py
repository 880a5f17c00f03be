"""Question: are the last 8 of ViM-Tiny's 24 blocks enough to train?
Hypothesis: Between the last 4 and all 24, in AP and in cost.
Run: tools/lab.py run backbones --only vim_tiny_last8
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("vim_tiny_finetuned.py"))

model.backbone.bottom_up.trainable_layers = 8
experiment.update(
    parent="backbones_vim_tiny_finetuned",
    factors=["model.backbone.bottom_up.trainable_layers"],
    level="ViM-Tiny, last 8 blocks",
)
