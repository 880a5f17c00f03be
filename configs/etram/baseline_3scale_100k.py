"""eTraM baseline: RVT-B as published, three scales, streams of recordings, 100,000 steps.

The learning rate is the published rule 2e-4 x sqrt(batch / 8) at batch 6 (our assumption).
Hypothesis: RVT finds vehicles well and misses most small road users.
Run: tools/lazyconfig_train_net.py --config-file configs/etram/baseline_3scale_100k.py
"""

from detectron2.config import LazyCall as L
from labbook.config.experiment import Experiment

from ..common.data.etram import dataloader, dataset, evaluation
from ..common.models.rvt_yolox import model
from ..common.optim import adamw as optimizer
from ..common.schedule import one_cycle as lr_multiplier
from ..common.train_steps import train

optimizer.lr = 1.7320508e-4
optimizer.weight_decay = 0.0

train.update(  # on Weights & Biases, with train.wandb=true
    project_name="etram_size_aware",
    group_name="${without_steps:${train.experiment_id}}",
    experiment_id="${without_prefix:etram_,${experiment.name}}",
)

experiment = L(Experiment)(level="baseline")
