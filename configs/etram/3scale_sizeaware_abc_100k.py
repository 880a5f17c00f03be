"""Question: does a classifier that sees all classes as often find more rare ones?
Hypothesis: Bicycles and motorcycles are rare beside cars; their AP rises.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_abc_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.head.balanced_classifier = True
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.balanced_classifier"],
    level="balanced classifier",
)
