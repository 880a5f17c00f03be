"""Selective scan of ViM-Tiny at 640 px: Triton, and mamba-ssm if there, against plain PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.measure import Candidate, Row, compare
from benchmarks.parts.models.scan import backward, forward, inputs
from benchmarks.speed.machine import finished
from smalldet.kernels.scan.backends import DEVICES, why_unusable

PLAIN = "chunked"
ROUNDS = 15


def rows(device: str = "cuda") -> Iterator[Row]:
    """Forward, and forward with backward, of all kernels that there are for the device."""
    tensors, names = (
        inputs(device=device),
        [name for name in kernels(device) if usable(name, device)],
    )
    for label, made in {"scan": forward, "scan with backward": backward}.items():
        candidates = {
            f"{label}, {name}": Candidate(finished(made(name, tensors), device), 0.0)
            for name in names
        }
        yield from compare(finished(made(PLAIN, tensors), device), candidates, ROUNDS)


def notes(rows: Sequence[Row], device: str = "cuda") -> Iterator[str]:
    """What is not used, and why."""
    for name in kernels(device):
        if not usable(name, device):
            yield f"{name} was left out: {why_unusable(name, device)}"


def kernels(device: str) -> list[str]:
    return [name for name, where in DEVICES.items() if where == device]


def usable(name: str, device: str) -> bool:
    return why_unusable(name, device) is None
