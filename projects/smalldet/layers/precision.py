"""Where autocast must not round, and where a CPU can."""

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


def bf16_instructions() -> list[str]:
    """Those of this CPU that multiply bfloat16: ``BF16`` (AVX512-BF16) and ``AMX``, or none."""
    supported = {
        "BF16": torch.cpu._is_avx512_bf16_supported(),
        "AMX": torch.cpu._is_amx_tile_supported(),
    }
    return [name for name, is_there in supported.items() if is_there]
