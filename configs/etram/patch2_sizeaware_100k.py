"""Question: do patches of 2 px, and so strides of 4 to 16, find more small objects?
Hypothesis: Finer features help small objects; batch 2 makes training noisier.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/patch2_sizeaware_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.backbone.bottom_up.patch_size = 2
train.total_batch_size = 2
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=["model.backbone.bottom_up.patch_size", "train.total_batch_size"],
    level="patch 2, batch 2",
)
