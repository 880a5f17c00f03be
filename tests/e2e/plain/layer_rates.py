"""Somebody's own function for an optimizer's parameters, in the words of ViTDet."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn


def layer_rate(name: str, num_layers: int, lr_decay_rate: float) -> float:
    """The factor of a parameter's learning rate: 1 outside of the backbone's stages."""
    stage = re.search(r"bottom_up\.res(\d)", name)
    return lr_decay_rate ** (num_layers - int(stage[1]) + 2) if stage else 1.0


def parameters_by_layer(
    model: nn.Module, base_lr: float, lr_factor_func: Callable[[str], float]
) -> list[dict[str, Any]]:
    """A group for each parameter that is trained."""
    return [
        {"params": [parameter], "lr": base_lr * lr_factor_func(name)}
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
