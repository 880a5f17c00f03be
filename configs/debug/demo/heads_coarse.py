"""Question: what does a network without maps of stride 4 miss?
Hypothesis: Small heads; it finds large ones as before.
Run: make demo
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("heads.py"))

model.backbone.in_stages = [2, 3]
experiment.update(
    name="demo_heads_coarse",
    parent="demo_heads",
    factors=["model.backbone.in_stages"],
    level="without stride 4",
)
