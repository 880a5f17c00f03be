"""Question: is a size threshold taken from the data better than COCO's 32² px?
Hypothesis: Where only the largest third of the boxes weighs 1, more boxes of middle size are found.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_datadriven_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

# With exponential weights small_threshold alone acts: they reach 1 at small_threshold * ln 2.
# For your own data: tools/tune_thresholds.py PREPARED --write THIS_FILE
model.head.small_threshold = 1274
_source = "upper tercile of 4,065 boxes: generated recordings, not of eTraM"

experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.small_threshold"],
    level=_source,
)
