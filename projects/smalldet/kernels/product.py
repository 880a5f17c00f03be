"""Weights as the C++ kernels' own matrix products read them, ``csrc/product.h``."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def in_panels(weight: Tensor, width: int) -> Tensor:
    """Weights (..., O, I) of a linear layer as (..., panels, I, width), the last filled up by 0."""
    weight = F.pad(weight.mT, (0, -weight.shape[-2] % width))  # (..., I, panels * width)
    return weight.unflatten(-1, (-1, width)).transpose(-3, -2).contiguous()
