"""Where kernels that have no backward pass may be taken."""

from __future__ import annotations

import torch
from torch import Tensor


def infers_on_cpu(*tensors: Tensor | None) -> bool:
    """Whether what is computed of ``tensors`` is float32 on a CPU, and nothing is to follow it.

    That is: no gradients, autocast, tracing or compilation. None stands for no tensor.
    """
    given = [x for x in tensors if x is not None]
    if torch.is_grad_enabled() and any(x.requires_grad for x in given):
        return False
    if torch.is_autocast_enabled("cpu") or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return all(x.dtype == torch.float32 and x.device.type == "cpu" for x in given)
