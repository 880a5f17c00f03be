"""Small heads on painted crowds, learned from nothing on a CPU: configs/examples/small_heads.py.

Hypothesis: Trained fine maps find small objects within a minute.
Run: make demo
"""

from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from toydata.heads import GeneratedHeads

globals().update(LazyConfig.load_rel("../../examples/small_heads.py"))

experiment.update(name="demo_heads", study="demo")
dataset.root = "${oc.env:DETECTRON2_DATASETS,datasets}/demo_heads"
dataset.name = "demo_heads"
dataset.generate = L(GeneratedHeads)(seed=1, image_size=160, train=240, valid=80, test=40)
dataloader.update(image_size=160, num_workers=0)
model.head.in_features = None  # all that the neck gives
train.update(output_dir="work_dirs/debug/${experiment.name}", log_period=20)
train.update(images=240, epochs=5, total_batch_size=4, micro_batch_size=4)
train.checkpointer.period = "${train.max_iter}"
train.best_metric = "bbox/AP50"
optimizer.lr = 2e-3
