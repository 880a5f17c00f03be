"""What the compiled and the Triton kernel share: both directions in one differentiable call.

A kernel does everything in one pass over the data: bias and softplus of the step sizes, the
recurrence, the direct connection, the sum of two directions and the gate. Backward it computes the
states again from the one at the start of each chunk of steps, so memory grows with the number of
chunks, not of steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smalldet.kernels.scan.inputs import ScanBackend, ScanInputs, ScanPair, with_plain_delta

TENSORS = ("u", "delta", "A", "B", "C", "D", "delta_bias", "delta_factor")  # of one direction


class FusedCall(NamedTuple):
    """One or two scans over a sequence that share output and gate."""

    scans: tuple[ScanInputs, ...]  # one from the start, or one from each end; without their own z
    z: Tensor | None  # (B, D, L)
    scale: float  # of the sum of the outputs

    @classmethod
    def of(cls, inputs: ScanInputs | ScanPair) -> FusedCall:
        """The call that computes ``inputs``."""
        if isinstance(inputs, ScanInputs):
            return cls((inputs._replace(z=None),), inputs.z, 1.0)
        return cls((inputs.ahead, inputs.back), inputs.z, inputs.scale)

    def tensors(self) -> list[Tensor | None]:
        """z, then those named by ``TENSORS`` of each scan."""
        return [self.z, *(getattr(scan, name) for scan in self.scans for name in TENSORS)]

    def with_tensors(self, tensors: Iterable[Tensor | None]) -> FusedCall:
        """The same with other tensors, in the order of :meth:`tensors`."""
        z, *rest = tensors
        scans = (
            scan._replace(**dict(zip(TENSORS, rest[i * len(TENSORS) :], strict=False)))
            for i, scan in enumerate(self.scans)
        )
        return FusedCall(tuple(scans), z, self.scale)


class Kernel(Protocol):
    """One implementation of a :class:`FusedCall`."""

    multiplies_delta: bool  # whether ``forward`` takes a ``delta_factor``

    def forward(self, call: FusedCall, keep: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Output (B, D, L), last state (B, D, N) of a single scan, and what ``backward`` needs."""
        ...

    def backward(
        self, call: FusedCall, kept: Tensor, grad_out: Tensor, grad_last: Tensor | None
    ) -> Sequence[Tensor | None]:
        """Gradients of ``call.tensors()``; None for those that are None."""
        ...


def fused_backend(kernel: Kernel) -> ScanBackend:
    """The backend that runs ``kernel``."""
    return ScanBackend(
        lambda scan: _run(kernel, FusedCall.of(scan)),
        lambda pair: _run(kernel, FusedCall.of(pair))[0],
    )


def _run(kernel: Kernel, call: FusedCall) -> Any:
    tensors = call.tensors()
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in tensors if x is not None)
    if learns or not kernel.multiplies_delta:
        call = call._replace(scans=tuple(with_plain_delta(scan) for scan in call.scans))
    if learns:
        tensors = call.tensors()
        return _FusedScan.apply(kernel, call.with_tensors([None] * len(tensors)), *tensors)
    return kernel.forward(call, keep=False)[:2]


class _FusedScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Kernel, empty: FusedCall, *tensors: Any) -> Any:
        out, last_state, kept = kernel.forward(empty.with_tensors(tensors), keep=True)
        ctx.kernel, ctx.empty = kernel, empty
        ctx.save_for_backward(kept, *tensors)
        return out, last_state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_last: Tensor | None) -> tuple[Any, ...]:
        kept, *tensors = ctx.saved_tensors
        call = ctx.empty.with_tensors(tensors)
        return None, None, *ctx.kernel.backward(call, kept, grad_out, grad_last)


def empty_like(x: Tensor) -> Tensor:
    """Uninitialised (B, D, L), channels adjacent in memory if they are in ``x``."""
    batch, channels, length = x.shape
    if x.stride(1) == 1:
        return x.new_empty(batch, length, channels).mT
    return x.new_empty(x.shape)
