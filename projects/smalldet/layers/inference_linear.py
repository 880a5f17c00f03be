"""A matrix product for inference on a CPU that does not depend on who made the CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def inference_linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x`` (..., I) times the transpose of ``weight`` (O, I), as ``F.linear``.

    PyTorch's default library for float32 products runs at half of what an AMD processor can do
    and at full speed on an Intel one; oneDNN, which PyTorch also brings, at full speed on both.
    It is asked directly where no gradient is needed; everything else is ``F.linear``.
    """
    if _onednn_will_do(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return F.linear(x, weight)


def _onednn_will_do(x: Tensor, weight: Tensor) -> bool:
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return False
    if torch.is_autocast_enabled("cpu") or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    plain = all(t.dtype == torch.float32 and t.device.type == "cpu" for t in (x, weight))
    usable = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return plain and usable and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # a private name
