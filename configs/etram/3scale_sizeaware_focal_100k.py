"""Question: does a focal classification loss help where a few classes dominate?
Hypothesis: Cells that are right already count less; rare, small classes gain.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_focal_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.head.classification_loss = "focal"
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.classification_loss"],
    level="focal",
)
