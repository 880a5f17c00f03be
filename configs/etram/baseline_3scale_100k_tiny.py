"""Question: how much of the baseline's AP does RVT-T keep?
Hypothesis: A quarter of the parameters costs AP on small objects above all.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/baseline_3scale_100k_tiny.py
"""

from detectron2.config import LazyConfig

from ..common.backbones.rvt import rvt_tiny as _rvt_tiny

globals().update(LazyConfig.load_rel("baseline_3scale_100k.py"))

model.backbone.update(bottom_up=_rvt_tiny, depth=0.33)
experiment.update(
    parent="etram_baseline_3scale_100k",
    factors=["model.backbone.bottom_up.embed_dim", "model.backbone.depth"],
    level="RVT-T",
)
