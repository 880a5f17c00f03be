"""Question: is ViM-Tiny worth more if all 24 blocks learn, and the embeddings before them?
Hypothesis: AP above frozen features, if 0.001 does not make it forget its pretraining.
Run: tools/lab.py run backbones --only vim_tiny_finetuned
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

model.backbone.bottom_up.frozen = False
experiment.update(
    parent="backbones_baseline",
    factors=["model.backbone.bottom_up.frozen"],
    level="ViM-Tiny, fine-tuned",
)
