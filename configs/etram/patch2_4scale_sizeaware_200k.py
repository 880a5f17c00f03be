"""Question: do a fourth scale and twice the steps make patch 2 pay off?
Hypothesis: With strides 2 to 16 and longer training small-class AP exceeds 18.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/patch2_4scale_sizeaware_200k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("patch2_sizeaware_100k.py"))

model.backbone.in_stages = [1, 2, 3, 4]
train.max_iter = 200_000
experiment.update(
    parent="etram_patch2_sizeaware_100k",
    factors=["model.backbone.in_stages", "train.max_iter"],
    level="4 scales, 200k steps",
    targets={"bbox/AP": 25.0, "bbox/AP-small-classes": 18.0, "final_loss": 3.5},
)
