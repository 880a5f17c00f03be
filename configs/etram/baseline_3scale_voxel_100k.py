"""Question: is a voxel grid a better input than counts by polarity?
Hypothesis: Time within a step helps to tell small moving objects from noise, in half the channels.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/baseline_3scale_voxel_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline_3scale_100k.py"))

dataset.representation = "voxel"
model.backbone.bottom_up.in_channels = 10  # 10 bins, whose sign is the polarity
experiment.update(
    parent="etram_baseline_3scale_100k",
    factors=["dataset.representation", "model.backbone.bottom_up.in_channels"],
    level="voxel grid",
)
