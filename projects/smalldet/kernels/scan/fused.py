"""What the compiled and the Triton kernel share: both directions in one differentiable call.

A kernel does everything in one pass over the data: bias and softplus of the step sizes, the
recurrence, the direct connection, the sum of two directions and the gate. Backward it computes the
states again from the one at the start of each chunk of steps, so memory grows with the number of
chunks, not of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smalldet.kernels.scan.inputs import ScanBackend, ScanInputs, ScanPair, with_plain_delta


class Options(NamedTuple):
    """What is no tensor."""

    reverse: tuple[bool, ...]  # for each direction, whether it runs from the end
    softplus: bool
    scale: float


class Direction(NamedTuple):
    """The tensors of one direction; shapes as in ``ScanInputs``."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    delta_bias: Tensor | None
    delta_factor: Tensor | None


class Kernel(Protocol):
    """One implementation. The output and z are (B, D, L); there are one or two directions."""

    multiplies_delta: bool  # whether ``forward`` takes a ``delta_factor``

    def forward(
        self, options: Options, z: Tensor | None, directions: list[Direction], keep: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Output, last state (B, D, N) of a single direction, and what ``backward`` needs."""
        ...

    def backward(
        self,
        options: Options,
        z: Tensor | None,
        directions: list[Direction],
        kept: Tensor,
        grad_out: Tensor,
        grad_last: Tensor | None,
    ) -> list[Tensor | None]:
        """Gradients of z and of all tensors of each direction (None for ``delta_factor``)."""
        ...


def fused_backend(kernel: Kernel) -> ScanBackend:
    """The backend that runs ``kernel``."""

    def scan(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
        return _run(kernel, Options((False,), inputs.delta_softplus, 1.0), inputs.z, [inputs])

    def pair(pair: ScanPair) -> Tensor:
        options = Options((False, True), pair.ahead.delta_softplus, pair.scale)
        return _run(kernel, options, pair.z, [pair.ahead, pair.back])[0]

    return ScanBackend(scan, pair)


def _run(kernel: Kernel, options: Options, z: Tensor | None, scans: list[ScanInputs]) -> Any:
    tensors = [z, *(x for scan in scans for x in _direction(scan))]
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in tensors if x is not None)
    if learns or not kernel.multiplies_delta:
        scans = [with_plain_delta(scan) for scan in scans]
    directions = [_direction(scan) for scan in scans]
    if learns:
        return _FusedScan.apply(kernel, options, z, *(x for d in directions for x in d))
    return kernel.forward(options, z, directions, keep=False)[:2]


def _direction(scan: ScanInputs) -> Direction:
    return Direction(*(getattr(scan, name) for name in Direction._fields))


def _directions(tensors: Sequence[Any]) -> list[Direction]:
    size = len(Direction._fields)
    return [Direction(*tensors[i : i + size]) for i in range(0, len(tensors), size)]


class _FusedScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Kernel, options: Options, z: Any, *tensors: Any) -> Any:
        out, last_state, kept = kernel.forward(options, z, _directions(tensors), keep=True)
        ctx.kernel, ctx.options = kernel, options
        ctx.save_for_backward(kept, z, *tensors)
        return out, last_state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_last: Tensor | None) -> tuple[Any, ...]:
        kept, z, *tensors = ctx.saved_tensors
        directions = _directions(tensors)
        gradients = ctx.kernel.backward(ctx.options, z, directions, kept, grad_out, grad_last)
        return None, None, *gradients


def empty_like(x: Tensor) -> Tensor:
    """Uninitialised (B, D, L), channels adjacent in memory if they are in ``x``."""
    batch, channels, length = x.shape
    if x.stride(1) == 1:
        return x.new_empty(batch, length, channels).mT
    return x.new_empty(x.shape)
