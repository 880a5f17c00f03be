"""Selective scan as ViM-Tiny runs it at 640 pixels: 384 channels, 1600 steps, state 16."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.parts.measure import Call, Candidate, Row, compare
from smalldet.kernels.scan.backends import why_unusable
from smalldet.kernels.scan.compiled import lanes_of
from smalldet.layers.selective_scan import selective_scan

WITHOUT_COMPILER = 8.0
WITH_COMPILER = {16: 80.0, 8: 50.0, 4: WITHOUT_COMPILER}  # by float32 lanes of the processor
BACKWARD = 20.0


def rows() -> Iterator[Row]:
    """Forward, and forward with backward, against the sequential reference."""
    candidates = {"scan, chunked": Candidate(forward("chunked"), WITHOUT_COMPILER)}
    compiled = why_unusable("compiled", "cpu") is None
    if compiled:
        required = WITH_COMPILER[lanes_of(torch.float32)]
        candidates["scan, compiled"] = Candidate(forward("compiled"), required)
    yield from compare(forward("reference"), candidates, rounds=15)
    if compiled:
        training = {"scan with backward, compiled": Candidate(backward("compiled"), BACKWARD)}
        yield from compare(backward("reference"), training, rounds=5)


def inputs() -> dict[str, torch.Tensor]:
    """Arguments of ``selective_scan``, with everything that is optional."""
    generator = torch.Generator().manual_seed(0)
    u, delta, z = (torch.randn(1, 384, 1600, generator=generator) for _ in range(3))
    B, C = (torch.randn(1, 16, 1600, generator=generator) for _ in range(2))
    D, bias = (torch.randn(384, generator=generator) for _ in range(2))
    A = -torch.rand(384, 16, generator=generator)
    return dict(u=u, delta=delta, A=A, B=B, C=C, D=D, z=z, delta_bias=bias)


def forward(backend: str) -> Call:
    tensors = inputs()

    def call() -> None:
        with torch.no_grad():
            selective_scan(**tensors, delta_softplus=True, backend=backend)

    return call


def backward(backend: str) -> Call:
    tensors = {name: x.requires_grad_() for name, x in inputs().items()}

    def call() -> None:
        out = selective_scan(**tensors, delta_softplus=True, backend=backend)
        torch.autograd.grad(out.sum(), list(tensors.values()))

    return call
