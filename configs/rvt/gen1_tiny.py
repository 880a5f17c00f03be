"""Question: how much of RVT-B's AP on Gen1 does RVT-T keep? Published: 44.1 on test.
Hypothesis: A quarter of the parameters costs three points.
Run: tools/lazyconfig_train_net.py --config-file configs/rvt/gen1_tiny.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("gen1_base.py"))

model.backbone.bottom_up.embed_dim = 32
model.backbone.depth = 0.33
experiment.update(
    parent="rvt_gen1_base",
    factors=[
        "model.backbone.bottom_up.embed_dim",
        "model.backbone.depth",
    ],
    level="RVT-T",
)
