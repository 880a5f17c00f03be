"""Question: does a box loss with distance and shape find small objects better?
Hypothesis: Boxes that do not overlap yet are pulled; AP at high IoU rises.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_ciou_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.head.iou_loss = "ciou"
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.iou_loss"],
    level="CIoU",
)
