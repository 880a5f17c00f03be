"""The whole ViM-Tiny backbone at 640 px, batch 1, without gradients."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.harness import Case
from smalldet.backbones.vim import VisionMamba


def cases() -> Iterator[Case]:
    image = torch.randn(1, 3, 640, 640, generator=torch.Generator().manual_seed(0))
    models = {
        name: VisionMamba(frozen=True, scan_backend=name)
        for name in ("reference", "chunked", "auto")
    }

    def call(name: str):
        return lambda: models[name](image)

    yield Case("chunked scan (no compiler)", call("reference"), call("chunked"), 5, rounds=3)
    yield Case("auto", call("reference"), call("auto"), 25, rounds=3)
