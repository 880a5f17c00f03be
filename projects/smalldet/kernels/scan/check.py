"""The numeric self-test of a scan backend: outputs and gradients beside the reference's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from smalldet.kernels.comparison import agree, with_gradients
from smalldet.kernels.scan.fused import FusedCall
from smalldet.kernels.scan.inputs import ScanBackend, ScanInputs, ScanPair
from smalldet.kernels.scan.reference import REFERENCE


def agrees_with_reference(backend: ScanBackend, device: torch.device | str) -> bool:
    """Whether a small scan and a small pair of scans come out as the reference's.

    The sizes are odd on purpose: several chunks, incomplete vectors of channels and of states.
    """
    scan = random_scan(batch=2, groups=2, group_size=19, states=11, length=70, device=device)
    pair = random_pair(batch=1, group_size=21, states=16, length=37, device=device)
    return all(
        agree(results(backend, inputs), results(REFERENCE, inputs)) for inputs in (scan, pair)
    )


def random_scan(
    batch: int,
    groups: int,
    group_size: int,
    states: int,
    length: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> ScanInputs:
    """A stable scan with everything optional in it, of normally distributed numbers."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float32).to(device)

    channels = groups * group_size
    stream, weights = (batch, channels, length), (batch, groups, states, length)
    return ScanInputs(
        u=normal(*stream),
        delta=normal(*stream),
        A=-normal(channels, states).exp(),
        B=normal(*weights),
        C=normal(*weights),
        D=normal(channels),
        z=normal(*stream),
        delta_bias=normal(channels) - 1,
        delta_softplus=True,
    )


def random_pair(batch: int, group_size: int, **options: Any) -> ScanPair:
    """Two such scans over one sequence, with one gate."""
    ahead, back = (random_scan(batch, 1, group_size, **options, seed=seed) for seed in (1, 2))
    return ScanPair(ahead._replace(z=None), back._replace(z=None), ahead.z, 0.5)


@torch.enable_grad()
def results(backend: ScanBackend, inputs: ScanInputs | ScanPair) -> list[Tensor]:
    """The output, and its gradients with respect to all tensors."""
    call = FusedCall.of(inputs)
    given = call.tensors()

    def run(*tensors: Tensor) -> Tensor:
        rest = iter(tensors)
        filled = call.with_tensors(None if x is None else next(rest) for x in given)
        if isinstance(inputs, ScanInputs):
            return backend.scan(filled.scans[0]._replace(z=filled.z))[0]
        ahead, back = filled.scans
        return backend.pair(ScanPair(ahead, back, filled.z, filled.scale))

    return with_gradients(run, *(x for x in given if x is not None))
