"""The selective scan as a C++ kernel, ``csrc/selective_scan.cpp``, called through ctypes."""

from __future__ import annotations

import math
from ctypes import CDLL, Structure, byref, c_double, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nativecode import load_library, why_absent
from smalldet.kernels.scan.fused import Direction, Options, empty_like

SOURCE = Path(__file__).parents[1] / "csrc" / "selective_scan.cpp"
DTYPES = {torch.float32: "f32", torch.float64: "f64"}


class CompiledKernel:
    """Float32 or float64, on the CPU."""

    multiplies_delta = True

    def forward(
        self, options: Options, z: Tensor | None, directions: list[Direction], keep: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """See ``fused_scan.Kernel``."""
        call = _Call(options, z, directions)
        starts = call.room_for_starts() if keep else None
        call.function("forward")(byref(call.scan(starts)))
        return call.out, call.last_state, starts

    def backward(
        self,
        options: Options,
        z: Tensor | None,
        directions: list[Direction],
        kept: Tensor,
        grad_out: Tensor,
        grad_last: Tensor | None,
    ) -> list[Tensor | None]:
        """See ``fused_scan.Kernel``."""
        call = _Call(options, z, directions)
        rooms = [call.room_for_gradients() for _ in directions]
        grad_z = None if z is None else empty_like(z)
        last = None if grad_last is None else grad_last.contiguous()
        gradients = _ScanGradients(_stream(grad_out), _stream(grad_z))
        for i, room in enumerate(rooms):
            pointers = map(_pointer, (room.A, room.D, room.bias, room.weights, last))
            gradients.direction[i] = _Gradients(_stream(room.u), _stream(room.delta), *pointers)
        call.function("backward")(byref(call.scan(kept)), byref(gradients))
        pairs = zip(directions, rooms, strict=True)
        return [grad_z, *(x for direction, room in pairs for x in _sums(direction, room))]


def why_not_compiled() -> str | None:
    """The sentence that says why there is no kernel here; None if there is."""
    return why_absent(SOURCE)


def lanes_of(dtype: torch.dtype) -> int:
    """Channels that the kernel does at once; 16 of float32 with AVX-512, 8 with AVX2."""
    return _library().lanes[dtype]


class _Library(NamedTuple):
    functions: CDLL
    lanes: dict[torch.dtype, int]  # channels done at once
    steps: int  # of a chunk
    states: int  # done at once


@cache
def _library() -> _Library:
    functions = load_library(SOURCE)
    if functions is None:
        raise RuntimeError(why_not_compiled())
    for name in ("steps_of_chunk", "states_of_round", *(f"lanes_{t}" for t in DTYPES.values())):
        getattr(functions, name).restype = c_int64
    lanes = {dtype: getattr(functions, f"lanes_{name}")() for dtype, name in DTYPES.items()}
    return _Library(functions, lanes, functions.steps_of_chunk(), functions.states_of_round())


class _Fit(NamedTuple):
    """One direction as the kernel reads it."""

    u: Tensor  # (B, D, L), any strides
    delta: Tensor | None
    B: Tensor  # (B, G, L, N), states adjacent
    C: Tensor
    steps: Tensor | None  # (B, 1, L, R), instead of delta
    factor: Tensor | None  # (D, R)
    A: Tensor  # (D, N)
    D: Tensor | None
    bias: Tensor | None


class _Room(NamedTuple):
    """Where the kernel writes the gradients of one direction."""

    u: Tensor
    delta: Tensor
    A: Tensor  # (B, D, N)
    D: Tensor  # (B, D)
    bias: Tensor
    weights: Tensor  # (B, G, blocks, L, rounds, 2, states): of B and C, for each block of channels


class _Call:
    """One call of the kernel: its tensors in a fit layout, kept alive while it runs."""

    def __init__(self, options: Options, z: Tensor | None, directions: list[Direction]) -> None:
        self.library, self.options, self.z = _library(), options, z
        self.directions = [_fit(direction) for direction in directions]
        u, A, B = (getattr(directions[0], name) for name in ("u", "A", "B"))
        (self.batch, self.channels, self.length), self.states = u.shape, A.shape[1]
        self.groups, self.lanes = B.shape[1], self.library.lanes[u.dtype]
        self.blocks = math.ceil(self.channels // self.groups / self.lanes)  # in a group
        self.rounds = math.ceil(self.states / self.library.states)
        self.out = empty_like(u)
        self.last_state = u.new_empty(self.batch, *A.shape) if len(directions) == 1 else None

    def room_for_starts(self) -> Tensor:
        """Memory for the states at the start of each chunk, (directions, numbers)."""
        chunks = math.ceil(self.length / self.library.steps)
        vectors = self.groups * self.blocks * chunks * self.rounds * self.library.states
        return self.out.new_empty(len(self.directions), self.batch * vectors * self.lanes)

    def room_for_gradients(self) -> _Room:
        empty, channels = self.out.new_empty, (self.batch, self.channels)
        parts = (self.batch, self.groups, self.blocks, self.length, self.rounds)
        streams = (empty_like(self.out), empty_like(self.out))
        sums = (empty((*channels, self.states)), empty(channels), empty(channels))
        return _Room(*streams, *sums, weights=empty((*parts, 2, self.library.states)))

    def scan(self, starts: Tensor | None) -> _Scan:
        """The arguments of the C++ functions; ``starts`` as :meth:`room_for_starts` gives them."""
        sizes = (self.batch, self.channels, self.groups, self.length, self.states)
        flags = (torch.get_num_threads(), self.options.softplus, len(self.directions))
        scan = _Scan(*sizes, *flags, self.options.scale, _stream(self.out), _stream(self.z))
        for i, (fit, reverse) in enumerate(zip(self.directions, self.options.reverse, strict=True)):
            start = None if starts is None else starts[i]
            scan.direction[i] = _Direction(
                *(_stream(fit.u), _stream(fit.delta)),
                *(_rows(fit.B), _rows(fit.C), _rows(fit.steps)),
                *map(_pointer, (fit.factor, fit.A, fit.D, fit.bias, self.last_state, start)),
                *(reverse, 0 if fit.factor is None else fit.factor.shape[1]),
            )
        return scan

    def function(self, name: str) -> Any:
        return getattr(self.library.functions, f"{name}_{DTYPES[self.out.dtype]}")


def _fit(given: Direction) -> _Fit:
    def contiguous(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.contiguous()

    factor, delta, steps = contiguous(given.delta_factor), given.delta, None
    if factor is not None:
        delta, steps = None, _adjacent_rows(given.delta.unsqueeze(1))
    B, C = _adjacent_rows(given.B), _adjacent_rows(given.C)
    vectors = (given.A.contiguous(), contiguous(given.D), contiguous(given.delta_bias))
    return _Fit(given.u, delta, B, C, steps, factor, *vectors)


def _adjacent_rows(x: Tensor) -> Tensor:
    """(B, G, N, L) -> (B, G, L, N), adjacent along N."""
    return x.mT if x.stride(2) == 1 else x.mT.contiguous()


def _sums(direction: Direction, room: _Room) -> list[Tensor | None]:
    """Gradients of the tensors of a direction.

    The kernel leaves the sums over images and over blocks of channels to this, in a fixed order:
    so the digits do not depend on the number of threads.
    """
    states = direction.A.shape[1]
    weights = room.weights.sum(2)  # (B, G, L, rounds, 2, states of a round)
    B, C = (x.flatten(-2)[..., :states].mT for x in weights.unbind(-2))
    D = None if direction.D is None else room.D.sum(0)
    bias = None if direction.delta_bias is None else room.bias.sum(0)
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
