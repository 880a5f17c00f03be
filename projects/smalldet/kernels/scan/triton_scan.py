"""The selective scan on CUDA by Triton kernels. Import this only where Triton is installed."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from smalldet.kernels.scan.fused import Direction, Options, empty_like
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


class TritonKernel:
    """On CUDA, or anywhere in Triton's interpreter."""

    multiplies_delta = False

    def forward(
        self, options: Options, z: Tensor | None, directions: list[Direction], keep: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """See ``fused_scan.Kernel``."""
        u, A = directions[0].u, directions[0].A
        out, count = empty_like(u), len(directions)
        last = u.new_empty(len(u), *A.shape) if count == 1 else None
        chunks = math.ceil(u.shape[2] / STEPS)
        starts = u.new_empty(count, len(u), chunks, *A.shape) if keep else None
        for i, direction in enumerate(directions):
            kept = None if starts is None else starts[i]
            launch: Any = scan_forward[_grid(direction)]
            with torch.cuda.device_of(u):
                launch(
                    *_given(direction),
                    *(_stream(z), _stream(out), last, kept, _sizes(direction, options)),
                    **_constants(direction, options, i),
                    FINAL=i + 1 == count,
                )
        return out, last, starts

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
        last = None if grad_last is None else grad_last.contiguous()
        grad_z = None if z is None else empty_like(z)
        gradients: list[Tensor | None] = [grad_z]
        for i, direction in enumerate(directions):
            room = _room(direction)
            streams = (_stream(x) for x in (room[0], room[1], grad_z))
            launch: Any = scan_backward[_grid(direction)]
            with torch.cuda.device_of(grad_out):
                launch(
                    *_given(direction),
                    *(_stream(z), kept[i], _stream(grad_out), last),
                    *(*streams, Sums(*room[2:]), _sizes(direction, options)),
                    **_constants(direction, options, i),
                )
            gradients += _sums(direction, room)
        return gradients


def _given(direction: Direction) -> tuple[Any, ...]:
    A, D, bias = (
        None if x is None else x.contiguous()
        for x in (direction.A, direction.D, direction.delta_bias)
    )
    B, C = (Rows(x, *x.stride()) for x in (direction.B, direction.C))
    return _stream(direction.u), _stream(direction.delta), A, B, C, D, bias


def _stream(x: Tensor | None) -> Stream:
    return Stream(None) if x is None else Stream(x, *x.stride())


def _sizes(direction: Direction, options: Options) -> Sizes:
    _, channels, length = direction.u.shape
    chunks = math.ceil(length / STEPS)
    groups, states = direction.B.shape[1], direction.A.shape[1]
    return Sizes(channels, groups, states, length, chunks, options.scale)


def _constants(direction: Direction, options: Options, index: int) -> dict[str, Any]:
    return {
        "CHUNKS": math.ceil(direction.u.shape[2] / STEPS),
        "T": STEPS,
        "K": CHANNELS,
        "N": triton.next_power_of_2(direction.A.shape[1]),
        "SOFTPLUS": options.softplus,
        "REVERSE": options.reverse[index],
        "FIRST": index == 0,
    }


def _blocks(direction: Direction) -> int:
    """Programs for one group of channels."""
    return math.ceil(direction.u.shape[1] // direction.B.shape[1] / CHANNELS)


def _grid(direction: Direction) -> tuple[int]:
    return (direction.u.shape[0] * direction.B.shape[1] * _blocks(direction),)


def _room(direction: Direction) -> tuple[Tensor, ...]:
    """Where the gradients of u, delta, A, B, C, D and delta_bias go."""
    u, (channels, states) = direction.u, direction.A.shape
    batch, _, length = u.shape
    streams = (empty_like(u), empty_like(direction.delta))
    weights = [u.new_empty(*_grid(direction), length, states) for _ in range(2)]
    vectors = [u.new_empty(batch, channels) for _ in range(2)]
    return (*streams, u.new_empty(batch, channels, states), *weights, *vectors)


def _sums(direction: Direction, room: tuple[Tensor, ...]) -> list[Tensor | None]:
    """Gradients of the tensors of a direction: sums over programs, in a fixed order."""
    grad_u, grad_delta, A, B, C, D, bias = room
    parts = (len(direction.u), direction.B.shape[1], _blocks(direction))
    weights = (x.unflatten(0, parts).sum(2).mT for x in (B, C))
    vectors = (
        None if given is None else x.sum(0)
        for given, x in ((direction.D, D), (direction.delta_bias, bias))
    )
    return [grad_u, grad_delta, A.sum(0), *weights, *vectors, None]
