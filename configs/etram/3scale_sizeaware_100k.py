"""Question: does weighing small objects' boxes more find more of them?
Hypothesis: Small-class AP rises, AP of large objects stays.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline_3scale_100k.py"))

model.head.size_aware_loss = True
experiment.update(
    parent="etram_baseline_3scale_100k",
    factors=["model.head.size_aware_loss"],
    level="weight 2.0",
)
