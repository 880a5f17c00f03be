"""The selective scan on CUDA by Triton kernels. Import this only where Triton is installed."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from smalldet.kernels.scan.fused import FusedCall, empty_like
from smalldet.kernels.scan.inputs import ScanInputs
from smalldet.kernels.scan.triton_kernels import (
    Rows,
    Sizes,
    Stream,
    Sums,
    scan_backward,
    scan_forward,
)

STEPS = 32  # of a chunk
CHANNELS = 4  # of a program


class TritonScan:
    """A ``Kernel``, on CUDA, or anywhere in Triton's interpreter."""

    multiplies_delta = False

    def forward(self, call: FusedCall, keep: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """See ``Kernel``."""
        u, A = call.scans[0].u, call.scans[0].A
        out, count = empty_like(u), len(call.scans)
        last = u.new_empty(len(u), *A.shape) if count == 1 else None
        chunks = math.ceil(u.shape[2] / STEPS)
        starts = u.new_empty(count, len(u), chunks, *A.shape) if keep else None
        for i, scan in enumerate(call.scans):
            kept = None if starts is None else starts[i]
            launch: Any = scan_forward[_grid(scan)]
            with torch.cuda.device_of(u):
                launch(
                    *_given(scan),
                    *(_stream(call.z), _stream(out), last, kept, _sizes(scan, call.scale)),
                    **_constants(scan, i),
                    FINAL=i + 1 == count,
                )
        return out, last, starts

    def backward(
        self, call: FusedCall, kept: Tensor, grad_out: Tensor, grad_last: Tensor | None
    ) -> list[Tensor | None]:
        """See ``Kernel``."""
        last = None if grad_last is None else grad_last.contiguous()
        grad_z = None if call.z is None else empty_like(call.z)
        gradients: list[Tensor | None] = [grad_z]
        for i, scan in enumerate(call.scans):
            room = _room(scan)
            streams = (_stream(x) for x in (room[0], room[1], grad_z))
            launch: Any = scan_backward[_grid(scan)]
            with torch.cuda.device_of(grad_out):
                launch(
                    *_given(scan),
                    *(_stream(call.z), kept[i], _stream(grad_out), last),
                    *(*streams, Sums(*room[2:]), _sizes(scan, call.scale)),
                    **_constants(scan, i),
                )
            gradients += _sums(scan, room)
        return gradients


def _given(scan: ScanInputs) -> tuple[Any, ...]:
    A, D, bias = (None if x is None else x.contiguous() for x in (scan.A, scan.D, scan.delta_bias))
    B, C = (Rows(x, *x.stride()) for x in (scan.B, scan.C))
    return _stream(scan.u), _stream(scan.delta), A, B, C, D, bias


def _stream(x: Tensor | None) -> Stream:
    return Stream(None) if x is None else Stream(x, *x.stride())


def _sizes(scan: ScanInputs, scale: float) -> Sizes:
    _, channels, length = scan.u.shape
    chunks = math.ceil(length / STEPS)
    groups, states = scan.B.shape[1], scan.A.shape[1]
    return Sizes(channels, groups, states, length, chunks, scale)


def _constants(scan: ScanInputs, index: int) -> dict[str, Any]:
    return {
        "CHUNKS": math.ceil(scan.u.shape[2] / STEPS),
        "T": STEPS,
        "K": CHANNELS,
        "N": triton.next_power_of_2(scan.A.shape[1]),
        "SOFTPLUS": scan.delta_softplus,
        "REVERSE": index == 1,
        "FIRST": index == 0,
    }


def _blocks(scan: ScanInputs) -> int:
    """Programs for one group of channels."""
    return math.ceil(scan.u.shape[1] // scan.B.shape[1] / CHANNELS)


def _grid(scan: ScanInputs) -> tuple[int]:
    return (scan.u.shape[0] * scan.B.shape[1] * _blocks(scan),)


def _room(scan: ScanInputs) -> tuple[Tensor, ...]:
    """Where the gradients of u, delta, A, B, C, D and delta_bias go."""
    u, (channels, states) = scan.u, scan.A.shape
    batch, _, length = u.shape
    streams = (empty_like(u), empty_like(scan.delta))
    weights = [u.new_empty(*_grid(scan), length, states) for _ in range(2)]
    vectors = [u.new_empty(batch, channels) for _ in range(2)]
    return (*streams, u.new_empty(batch, channels, states), *weights, *vectors)


def _sums(scan: ScanInputs, room: tuple[Tensor, ...]) -> list[Tensor | None]:
    """Gradients of the tensors of a direction: sums over programs, in a fixed order."""
    grad_u, grad_delta, A, B, C, D, bias = room
    parts = (len(scan.u), scan.B.shape[1], _blocks(scan))
    weights = (x.unflatten(0, parts).sum(2).mT for x in (B, C))
    vectors = (
        None if given is None else x.sum(0) for given, x in ((scan.D, D), (scan.delta_bias, bias))
    )
    return [grad_u, grad_delta, A.sum(0), *weights, *vectors, None]
