"""Question: does a distance that forgives a pixel, as loss and in SimOTA, find more small objects?
Hypothesis: IoU of tiny boxes jumps with a pixel, NWD does not; small-class AP rises.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_nwd_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.head.update(iou_loss="nwd", assignment_metric="nwd")
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.iou_loss", "model.head.assignment_metric"],
    level="NWD",
)
