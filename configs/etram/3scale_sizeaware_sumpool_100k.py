"""Question: does half resolution by summing keep small objects that nearest throws away?
Hypothesis: Three quarters more events make small objects denser.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_sumpool_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

dataset.downsample = "sum"
experiment.update(parent="etram_3scale_sizeaware_100k", factors=["dataset.downsample"], level="sum")
