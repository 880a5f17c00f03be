"""Question: are the last 4 of ViM-Tiny's 24 blocks enough to train?
Hypothesis: Most of the gain of training all blocks, at little more than the frozen cost.
Run: tools/lab.py run backbones --only vim_tiny_last4
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("vim_tiny_finetuned.py"))

model.backbone.bottom_up.trainable_layers = 4
experiment.update(
    parent="backbones_vim_tiny_finetuned",
    factors=["model.backbone.bottom_up.trainable_layers"],
    level="ViM-Tiny, last 4 blocks",
)
