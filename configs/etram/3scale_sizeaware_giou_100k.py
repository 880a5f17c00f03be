"""Question: does a box loss with the hull of both boxes find small objects better?
Hypothesis: Boxes that do not overlap yet are pulled, if more slowly than by distance; AP rises.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_giou_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.head.iou_loss = "giou"
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.iou_loss"],
    level="GIoU",
)
