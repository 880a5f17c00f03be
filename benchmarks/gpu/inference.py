"""ViM-Tiny at 640 px and a time step of RVT at 384x640: against others, and by precision."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.measure import Call, Candidate, Row, compare
from benchmarks.parts.models.bf16 import in_autocast
from benchmarks.parts.models.rvt import VARIANTS, step_calls
from benchmarks.parts.models.vim import vim, vit
from benchmarks.speed.machine import finished

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
ROUNDS = 15


def rows(device: str = "cuda") -> Iterator[Row]:
    """Against timm's ViT-Tiny and the published RVT in float32, then autocast against float32."""
    yield from measured("ViM-Tiny", vit(device), vim("auto", device), device)
    for variant in VARIANTS:
        yield from measured(f"RVT {variant}", *step_calls(variant, device), device)


def measured(name: str, rival: Call, ours: Call, device: str) -> Iterator[Row]:
    candidate = finished(ours, device)
    yield from compare(finished(rival, device), {name: Candidate(candidate, 0.0)}, ROUNDS)
    rounded = {
        f"{name}, {precision}": Candidate(finished(in_autocast(ours, device, dtype), device), 0.0)
        for precision, dtype in DTYPES.items()
    }
    yield from compare(candidate, rounded, ROUNDS)
