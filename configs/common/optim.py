"""Optimizers over the trainable parameters; ``params.model`` is filled in by the engine."""

import torch
from detectron2.config import LazyCall as L

from smalldet.engine.optim import parameter_groups

params = L(parameter_groups)(model=None, weight_decay_norm=0.0)

adamw = L(torch.optim.AdamW)(params=params, lr=0.001, betas=[0.9, 0.999], weight_decay=0.1)
sgd = L(torch.optim.SGD)(params=params, lr=0.001, momentum=0.9, weight_decay=1e-4)
rmsprop = L(torch.optim.RMSprop)(params=params, lr=0.001, alpha=0.99, eps=1e-8, weight_decay=1e-4)
