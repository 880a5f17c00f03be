"""The selective scan as a C++ kernel, ``csrc/selective_scan.cpp``, called through ctypes."""

from __future__ import annotations

import math
from ctypes import Structure, byref, c_double, c_int64, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nativecode import CheckedKernel
from smalldet.kernels.scan.check import agrees_with_reference
from smalldet.kernels.scan.fused import FusedCall, empty_like, fused_backend
from smalldet.kernels.scan.inputs import ScanInputs

DTYPES = {torch.float32: "f32", torch.float64: "f64"}


class CompiledScan:
    """A :class:`~smalldet.kernels.scan.fused.Kernel` in float32 or float64, on the CPU."""

    multiplies_delta = True

    def forward(self, call: FusedCall, keep: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """See ``Kernel``."""
        layout = _Layout(call)
        out = empty_like(layout.u)
        last = out.new_empty(len(out), *call.scans[0].A.shape) if len(call.scans) == 1 else None
        starts = layout.room_for_starts() if keep else None
        scan = layout.scan(out, starts, last)
        layout.function("forward")(byref(scan))
        return out, last, starts

    def backward(
        self, call: FusedCall, kept: Tensor, grad_out: Tensor, grad_last: Tensor | None
    ) -> list[Tensor | None]:
        """See ``Kernel``."""
        layout = _Layout(call)
        rooms = [layout.room_for_gradients() for _ in call.scans]
        grad_z = None if call.z is None else empty_like(call.z)
        last = None if grad_last is None else grad_last.contiguous()
        gradients = _ScanGradients(_stream(grad_out), _stream(grad_z))
        for i, room in enumerate(rooms):
            pointers = map(_pointer, (room.A, room.D, room.bias, room.weights, last))
            gradients.direction[i] = _Gradients(_stream(room.u), _stream(room.delta), *pointers)
        scan = layout.scan(None, kept, None)
        layout.function("backward")(byref(scan), byref(gradients))
        return [grad_z, *(x for pair in zip(call.scans, rooms, strict=True) for x in _sums(*pair))]


def lanes_of(dtype: torch.dtype) -> int:
    """Channels that the kernel does at once; 16 of float32 with AVX-512, 8 with AVX2."""
    return getattr(KERNEL.library, f"lanes_{DTYPES[dtype]}")()


class _Room(NamedTuple):
    """Where the kernel writes the gradients of one direction."""

    u: Tensor
    delta: Tensor
    A: Tensor  # (B, D, N)
    D: Tensor  # (B, D)
    bias: Tensor
    weights: Tensor  # (B, G, blocks, L, rounds, 2, states): of B and C, for each block of channels


class _Layout:
    """The tensors of a call as the kernel reads them, kept alive while it runs, and its sizes."""

    def __init__(self, call: FusedCall) -> None:
        self.call, self.fit = call, [_fit(scan) for scan in call.scans]
        self.u, A = call.scans[0].u, call.scans[0].A
        self.lanes = lanes_of(self.u.dtype)
        (self.batch, self.channels, self.length), self.states = self.u.shape, A.shape[1]
        self.groups = call.scans[0].B.shape[1]
        self.blocks = math.ceil(self.channels // self.groups / self.lanes)  # in a group
        self.at_once = KERNEL.library.states_of_round()
        self.rounds = math.ceil(self.states / self.at_once)

    def room_for_starts(self) -> Tensor:
        """Memory for the states at the start of each chunk, (directions, numbers)."""
        chunks = math.ceil(self.length / KERNEL.library.steps_of_chunk())
        vectors = self.groups * self.blocks * chunks * self.rounds * self.at_once
        return self.u.new_empty(len(self.fit), self.batch * vectors * self.lanes)

    def room_for_gradients(self) -> _Room:
        empty, channels = self.u.new_empty, (self.batch, self.channels)
        parts = (self.batch, self.groups, self.blocks, self.length, self.rounds)
        streams = (empty_like(self.u), empty_like(self.u))
        sums = (empty((*channels, self.states)), empty(channels), empty(channels))
        return _Room(*streams, *sums, weights=empty((*parts, 2, self.at_once)))

    def scan(self, out: Tensor | None, starts: Tensor | None, last: Tensor | None) -> _Scan:
        """The arguments of the C++ functions; ``starts`` as :meth:`room_for_starts` gives them."""
        sizes = (self.batch, self.channels, self.groups, self.length, self.states)
        flags = (torch.get_num_threads(), self.fit[0].delta_softplus, len(self.fit))
        scan = _Scan(*sizes, *flags, self.call.scale, _stream(out), _stream(self.call.z))
        for i, fit in enumerate(self.fit):
            factor, start = fit.delta_factor, None if starts is None else starts[i]
            rows = (fit.B, fit.C, None if factor is None else fit.delta)
            vectors = (factor, fit.A, fit.D, fit.delta_bias, last, start)
            scan.direction[i] = _Direction(
                *(_stream(fit.u), _stream(fit.delta if factor is None else None)),
                *(*map(_rows, rows), *map(_pointer, vectors)),
                *(i == 1, 0 if factor is None else factor.shape[1]),
            )
        return scan

    def function(self, name: str) -> Any:
        return getattr(KERNEL.library, f"{name}_{DTYPES[self.u.dtype]}")


def _fit(scan: ScanInputs) -> ScanInputs:
    """``scan`` with B and C, and delta if it has a factor, as rows; vectors without gaps."""
    names = ("A", "D", "delta_bias", "delta_factor")
    given = {name: getattr(scan, name) for name in names}
    vectors = {name: None if x is None else x.contiguous() for name, x in given.items()}
    factored = scan.delta_factor is not None
    delta = _adjacent_rows(scan.delta.unsqueeze(1)) if factored else scan.delta
    return scan._replace(delta=delta, B=_adjacent_rows(scan.B), C=_adjacent_rows(scan.C), **vectors)


def _adjacent_rows(x: Tensor) -> Tensor:
    """(B, G, N, L) -> (B, G, L, N), adjacent along N."""
    return x.mT if x.stride(2) == 1 else x.mT.contiguous()


def _sums(scan: ScanInputs, room: _Room) -> list[Tensor | None]:
    """Gradients of the tensors of a direction.

    The kernel leaves the sums over images and over blocks of channels to this, in a fixed order:
    so the digits do not depend on the number of threads.
    """
    states = scan.A.shape[1]
    weights = room.weights.sum(2)  # (B, G, L, rounds, 2, states of a round)
    B, C = (x.flatten(-2)[..., :states].mT for x in weights.unbind(-2))
    D = None if scan.D is None else room.D.sum(0)
    bias = None if scan.delta_bias is None else room.bias.sum(0)
    return [room.u, room.delta, room.A.sum(0), B, C, D, bias, None]


# The structures of the C++ file; distances count elements, not bytes.


class _Stream(Structure):
    _fields_ = (("data", c_void_p), ("batch", c_int64), ("channel", c_int64), ("time", c_int64))


class _Weights(Structure):
    _fields_ = (("data", c_void_p), ("batch", c_int64), ("group", c_int64), ("time", c_int64))


class _Direction(Structure):
    _fields_ = (
        *(("u", _Stream), ("delta", _Stream)),
        *(("B", _Weights), ("C", _Weights), ("steps", _Weights)),
        *((name, c_void_p) for name in ("factor", "A", "D", "bias", "last_state", "starts")),
        *(("reverse", c_int64), ("rank", c_int64)),
    )


class _Scan(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("batch", "channels", "groups", "length", "states")),
        *((name, c_int64) for name in ("threads", "softplus", "directions")),
        *(("scale", c_double), ("out", _Stream), ("z", _Stream), ("direction", _Direction * 2)),
    )


class _Gradients(Structure):
    _fields_ = (
        *(("u", _Stream), ("delta", _Stream)),
        *((name, c_void_p) for name in ("A", "D", "bias", "weights", "last_state")),
    )


class _ScanGradients(Structure):
    _fields_ = (("out", _Stream), ("z", _Stream), ("direction", _Gradients * 2))


def _stream(x: Tensor | None) -> _Stream:
    return _Stream() if x is None else _Stream(x.data_ptr(), *x.stride())


def _rows(x: Tensor | None) -> _Weights:
    return _Weights() if x is None else _Weights(x.data_ptr(), *x.stride()[:3])


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


COMPILED = fused_backend(CompiledScan())
KERNEL = CheckedKernel(
    "compiled selective scan",
    lambda: agrees_with_reference(COMPILED, "cpu"),
    Path(__file__).parents[1] / "csrc" / "selective_scan.cpp",
)
