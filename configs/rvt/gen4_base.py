"""RVT-B on 1 Mpx with the published settings: 400,000 steps of 24 sequences of 5 steps of 50 ms.

Question: is the published AP reached, 47.4 on test?
Hypothesis: Trained with the published settings, RVT-B comes within a point of it.
Run: tools/lazyconfig_train_net.py --config-file configs/rvt/gen4_base.py
"""

from detectron2.config import LazyCall as L
from labbook.config.experiment import Experiment

from ..common.data.gen4 import dataloader, dataset, evaluation
from ..common.models.rvt_yolox import model
from ..common.optim import adamw as optimizer
from ..common.schedule import one_cycle as lr_multiplier
from ..common.train_steps import train

model.head.num_classes = 3
optimizer.lr = 3.46e-4
optimizer.weight_decay = 0.0
train.update(total_batch_size=24, max_iter=400_000, best_metric="rvt_published/AP")

experiment = L(Experiment)(level="RVT-B on 1 Mpx")
