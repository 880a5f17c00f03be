"""The eTraM baseline at demo size: its three groups of road users on a sensor of 128 x 96 px.

Hypothesis: RVT finds vehicles well and misses most small road users.
Run: make demo
"""

from .._etram import toy

globals().update(toy("baseline_3scale_100k"))

experiment.update(name="demo_events", study="demo")
dataset.root = "${oc.env:DETECTRON2_DATASETS,datasets}/demo_events"
dataset.name = "demo_events"
dataset.class_map = "etram_3groups"
dataset.generate.update(seed=1, train=80, val=8, test=4, seconds=1.5, width=128, height=96)
# Short windows: as many different streets in a step as there is time for.
dataloader.sequence_length = 3
dataloader.train.sampling.mode = "mixed"
dataloader.train.sampling.random_augment.zoom = 0.0
dataloader.train.sampling.stream_augment.zoom = 0.0
train.update(total_batch_size=8, max_iter=600, log_period=20)
train.eval_period, train.checkpointer.period = 200, "${train.max_iter}"
optimizer.lr = 2.5e-3
lr_multiplier.warmup = 0.05
model.head.num_classes = 3
model.backbone.depth = 0.33
model.backbone.bottom_up.update(embed_dim=16, dim_head=16)
