"""RVT-B on Gen1 with the published settings: 400,000 steps of 8 sequences of 21 steps of 50 ms.

Question: is the published AP reached, 47.2 on test?
Hypothesis: Trained with the published settings, RVT-B comes within a point of it.
Run: tools/lazyconfig_train_net.py --config-file configs/rvt/gen1_base.py
"""

from detectron2.config import LazyCall as L
from labbook.config.experiment import Experiment

from ..common.data.gen1 import dataloader, dataset, evaluation
from ..common.models.rvt_yolox import model
from ..common.optim import adamw as optimizer
from ..common.schedule import one_cycle as lr_multiplier
from ..common.train_steps import train

model.backbone.bottom_up.partition_split = 1  # windows of 8 x 10 cells
model.head.num_classes = 2
optimizer.lr = 2e-4
optimizer.weight_decay = 0.0
train.update(total_batch_size=8, max_iter=400_000, best_metric="rvt_published_gen1/AP")

experiment = L(Experiment)(level="RVT-B on Gen1")
