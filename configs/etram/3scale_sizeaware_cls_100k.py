"""Question: does weighing small objects' classes more, too, find more of them?
Hypothesis: Small objects are also the less sure ones; their scores rise.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_cls_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.head.size_aware_terms = ["iou", "classification"]
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.size_aware_terms"],
    level="boxes and classes",
)
