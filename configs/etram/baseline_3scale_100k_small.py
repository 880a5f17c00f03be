"""Question: how much of the baseline's AP does RVT-S keep?
Hypothesis: Half of the parameters costs little AP.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/baseline_3scale_100k_small.py
"""

from detectron2.config import LazyConfig

from ..common.backbones.rvt import rvt_small as _rvt_small

globals().update(LazyConfig.load_rel("baseline_3scale_100k.py"))

model.backbone.update(bottom_up=_rvt_small, depth=0.33)
experiment.update(
    parent="etram_baseline_3scale_100k",
    factors=[
        "model.backbone.bottom_up.embed_dim",
        "model.backbone.bottom_up.dim_head",
        "model.backbone.depth",
    ],
    level="RVT-S",
)
