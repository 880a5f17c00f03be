"""Question: does giving every object a positive cell find more small ones?
Hypothesis: Objects that SimOTA leaves out are the small ones; they gain.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_rescue_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.head.rescue_unmatched = True
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.head.rescue_unmatched"],
    level="rescue",
)
