"""Selective scan as ViM-Tiny runs it at 640 pixels: 384 channels, 1600 steps, state 16."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.measure import Call, Candidate, Row, compare
from smalldet.kernels.scan.backends import why_unusable
from smalldet.kernels.scan.compiled import lanes_of
from smalldet.layers.selective_scan import selective_scan

CHANNELS, STATES, LENGTH = 384, 16, 1600
WITHOUT_COMPILER = 7.2
WITH_COMPILER = {16: 80.0, 8: 50.0, 4: WITHOUT_COMPILER}  # by float32 lanes of the processor
BACKWARD = 20.0


def rows() -> Iterator[Row]:
    """Forward, and forward with backward, against the sequential reference."""
    tensors, compiled = inputs(), why_unusable("compiled", "cpu") is None
    candidates = {"scan, chunked": Candidate(forward("chunked", tensors), WITHOUT_COMPILER)}
    if compiled:
        required = WITH_COMPILER[lanes_of(torch.float32)]
        candidates["scan, compiled"] = Candidate(forward("compiled", tensors), required)
    yield from compare(forward("reference", tensors), candidates, rounds=15)
    if compiled:
        training = Candidate(backward("compiled", tensors), BACKWARD)
        found = {"scan with backward, compiled": training}
        yield from compare(backward("reference", tensors), found, rounds=5)


def inputs(batch: int = 1, length: int = LENGTH, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Arguments of ``selective_scan``, with everything that is optional."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    u, delta, z = (normal(batch, CHANNELS, length) for _ in range(3))
    B, C = (normal(batch, STATES, length) for _ in range(2))
    A, D, bias = -normal(CHANNELS, STATES).abs(), normal(CHANNELS), normal(CHANNELS)
    tensors = dict(u=u, delta=delta, A=A, B=B, C=C, D=D, z=z, delta_bias=bias)
    return {name: x.to(device) for name, x in tensors.items()}


def forward(backend: str, tensors: dict[str, torch.Tensor]) -> Call:
    def call() -> None:
        with torch.no_grad():
            selective_scan(**tensors, delta_softplus=True, backend=backend)

    return call


def backward(backend: str, tensors: dict[str, torch.Tensor]) -> Call:
    """Forward pass, and the gradients of all tensors."""
    leaves = {name: x.detach().requires_grad_() for name, x in tensors.items()}

    def call() -> None:
        out = selective_scan(**leaves, delta_softplus=True, backend=backend)
        torch.autograd.grad(out.sum(), list(leaves.values()))

    return call
