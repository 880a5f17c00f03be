"""Question: does a stride-4 level find more small objects?
Hypothesis: A finer level helps the smallest and costs nothing for the rest.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/4scale_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline_3scale_100k.py"))

model.backbone.in_stages = [1, 2, 3, 4]
experiment.update(
    parent="etram_baseline_3scale_100k",
    factors=["model.backbone.in_stages"],
    level="4 scales",
)
