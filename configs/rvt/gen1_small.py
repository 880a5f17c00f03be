"""Question: how much of RVT-B's AP on Gen1 does RVT-S keep? Published: 46.5 on test.
Hypothesis: Half of the parameters costs a point.
Run: tools/lazyconfig_train_net.py --config-file configs/rvt/gen1_small.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("gen1_base.py"))

model.backbone.bottom_up.update(embed_dim=48, dim_head=24)
model.backbone.depth = 0.33
experiment.update(
    parent="rvt_gen1_base",
    factors=[
        "model.backbone.bottom_up.embed_dim",
        "model.backbone.bottom_up.dim_head",
        "model.backbone.depth",
    ],
    level="RVT-S",
)
