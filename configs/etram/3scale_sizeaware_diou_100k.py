"""Question: does a box loss with the distance of the centres find small objects better?
Hypothesis: Boxes that do not overlap yet are pulled; AP50 rises more than AP at high IoU.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_diou_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.head.iou_loss = "diou"
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.iou_loss"],
    level="DIoU",
)
