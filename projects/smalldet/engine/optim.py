"""Which parameters an optimizer sees, with what weight decay; the norm of their gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from smalldet.layers.norms import ChannelLayerNorm, RMSNorm

NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    ChannelLayerNorm,
    RMSNorm,
)


def parameter_groups(
    model: nn.Module | None = None, weight_decay_norm: float = 0.0
) -> list[dict[str, Any]]:
    """Trainable parameters of ``model`` in two groups: norm layers, and all others.

    Frozen parameters are in neither, so no optimizer keeps state for them. Detectron2's own helper
    takes only torch's norm classes for norms and so decays channel-wise layer norms; here every
    norm layer has ``weight_decay_norm``, the rest the optimizer's own decay.

    Args:
        model: Filled in by the engine; a config leaves it None.
        weight_decay_norm: Weight decay of scales and offsets of norm layers.
    """
    if model is None:
        raise ValueError("parameter_groups needs a model; set optimizer.params.model before use.")
    norm_ids = {id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters()}
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("The model has no trainable parameter; unfreeze a part of it.")
    groups = [
        {"params": [p for p in trainable if id(p) not in norm_ids]},
        {
            "params": [p for p in trainable if id(p) in norm_ids],
            "weight_decay": weight_decay_norm,
        },
    ]
    return [group for group in groups if group["params"]]


def total_gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Global L2 norm of the gradients of ``parameters`` (scalar; zero without gradients)."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
