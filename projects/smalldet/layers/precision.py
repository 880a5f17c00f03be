"""Where autocast must not round."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Inside, every operation keeps the types that it is given.

    In ``torch.export``, which knows no autocast, it is nothing: a graph without regions of it.
    """
    if torch.compiler.is_exporting():
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
