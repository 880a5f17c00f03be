"""Question: how much of RVT-B's AP on 1 Mpx does RVT-S keep? Published: 44.1 on test.
Hypothesis: Half of the parameters costs three points.
Run: tools/lazyconfig_train_net.py --config-file configs/rvt/gen4_small.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("gen4_base.py"))

model.backbone.bottom_up.update(embed_dim=48, dim_head=24)
model.backbone.depth = 0.33
experiment.update(
    parent="rvt_gen4_base",
    factors=[
        "model.backbone.bottom_up.embed_dim",
        "model.backbone.bottom_up.dim_head",
        "model.backbone.depth",
    ],
    level="RVT-S",
)
