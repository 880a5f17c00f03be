"""Question: are size thresholds taken from the data better than COCO's 32² and 96² px?
Hypothesis: At half resolution most boxes are below 32² px; terciles tell them apart.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_datadriven_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

# For your own data: tools/tune_thresholds.py PREPARED --write THIS_FILE
model.head.small_threshold = 353
model.head.medium_threshold = 1103
_source = "terciles of 5,265 boxes: generated recordings, not of eTraM"

experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.small_threshold", "model.head.medium_threshold"],
    level=_source,
)
