"""The eTraM baseline at a size that really learns on a CPU, in minutes, on generated recordings.

Hypothesis: RVT finds vehicles well and misses most small road users.
Run: tools/lazyconfig_train_net.py --config-file configs/debug/etram_baseline_3scale.py
"""

from ._etram import toy

globals().update(toy("baseline_3scale_100k"))

experiment.update(name="etram_baseline_3scale", study="demo-events")
dataset.root = "${oc.env:DETECTRON2_DATASETS,datasets}/demo_events"
dataset.name = "demo_events"
dataset.generate.update(seed=1, train=24, val=4, test=4, seconds=3.0, width=240, height=180)
train.update(total_batch_size=4, micro_batch_size=4, max_iter=400, log_period=20)
train.eval_period = train.checkpointer.period = 200
optimizer.lr = 1.5e-3
model.backbone.depth = 0.33
model.backbone.bottom_up.update(embed_dim=32, dim_head=32)
