"""Question: how much of RVT-B's AP on 1 Mpx does RVT-T keep? Published: 41.5 on test.
Hypothesis: A quarter of the parameters costs six points.
Run: tools/lazyconfig_train_net.py --config-file configs/rvt/gen4_tiny.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("gen4_base.py"))

model.backbone.bottom_up.embed_dim = 32
model.backbone.depth = 0.33
experiment.update(
    parent="rvt_gen4_base",
    factors=[
        "model.backbone.bottom_up.embed_dim",
        "model.backbone.depth",
    ],
    level="RVT-T",
)
