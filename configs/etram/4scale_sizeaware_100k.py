"""Question: do a finer level and a size-aware loss add up?
Hypothesis: Both help where the other cannot; small-class AP above 20.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/4scale_sizeaware_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("4scale_100k.py"))

model.head.update(size_aware_loss=True, size_aware_weight=2.5)
experiment.update(
    parent="etram_4scale_100k",
    factors=["model.head.size_aware_loss", "model.head.size_aware_weight"],
    level="weight 2.5",
    targets={"bbox/AP": 35.0, "bbox/AP-small-classes": 20.0},
)
