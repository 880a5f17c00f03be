"""Question: does attention to small, moving detail help beyond the loss?
Hypothesis: Attention lifts small objects; the higher rate and decay train it.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/3scale_sizeaware_attention_100k.py
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("3scale_sizeaware_100k.py"))

model.backbone.enable_small_object_attention = True
optimizer.update(lr=0.001, weight_decay=0.0005)
experiment.update(
    parent="etram_3scale_sizeaware_100k",
    factors=[
        "model.backbone.enable_small_object_attention",
        "optimizer.lr",
        "optimizer.weight_decay",
    ],
    level="attention, lr 0.001, decay 0.0005",
)
