"""Selective scan as ViM-Tiny runs it at 640 px: 384 channels, 1600 steps, state 16."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.harness import Call, Case
from smalldet.layers.selective_scan import selective_scan


def cases() -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    u, delta, z = (torch.randn(1, 384, 1600, generator=generator) for _ in range(3))
    A = -torch.rand(384, 16, generator=generator)
    B, C = (torch.randn(1, 16, 1600, generator=generator) for _ in range(2))

    def call(backend: str) -> Call:
        @torch.no_grad()
        def run() -> object:
            return selective_scan(u, delta, A, B, C, z=z, delta_softplus=True, backend=backend)

        return run

    yield Case("forward, chunked (no compiler)", call("reference"), call("chunked"), 8)
