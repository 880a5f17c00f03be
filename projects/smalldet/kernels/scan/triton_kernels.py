"""The Triton kernels of the selective scan; ``triton_scan`` calls them.

One program owns one image and a few channels of one group, and goes through the sequence in chunks
of steps. Inside a chunk the recurrence h[t] = a[t] * h[t-1] + x[t] is an associative scan over the
pairs (a, x) (Blelloch, Prefix sums and their applications, 1990, section 1.4); from chunk to chunk
only the last state is carried. "Steps" count in the direction of the scan. Import this only where
Triton is installed.

Shape shorthand: T steps of a chunk, K channels of a program, N states (a power of two; those in
excess have an A, B and C of 0).
"""

# pyright: reportGeneralTypeIssues=false, reportCallIssue=false
from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from smalldet.kernels.scan.triton_parts import (
    cells,
    cells_of_chunk,
    load,
    load_rows,
    place,
    rates,
    row,
    rows_of_program,
    run_states,
    sigmoid,
    silu_slope,
    state_gradients,
    step_sizes,
    step_slope,
    store,
    times,
)


class Stream(NamedTuple):
    """(images, channels, times), and the distances in memory."""

    data: Any
    image: int = 0
    channel: int = 0
    time: int = 0


class Rows(NamedTuple):
    """B or C (images, groups, states, times)."""

    data: Any
    image: int
    group: int
    state: int
    time: int


class Sizes(NamedTuple):
    channels: int
    groups: int
    states: int
    length: int
    chunks: int
    scale: float


class Sums(NamedTuple):
    """Gradients that are sums, in parts: images and programs are still to be added up."""

    A: Any  # (images, channels, states)
    B: Any  # (programs, length, states)
    C: Any
    D: Any  # (images, channels)
    bias: Any


# Tuples stand for themselves in the signatures: in a loop, Triton 3.6 loses a constant inside a
# tuple inside a tuple. A (channels, states), D and bias (channels,) are contiguous; D, bias, last,
# starts, grad_last and the data of z may be None.


@triton.jit
def scan_forward(
    u_stream, delta_stream, A, B_rows, C_rows, D, bias, z_stream,
    out, last, starts, sizes,  # last (images, channels, states), starts (images, chunks, ...)
    CHUNKS: tl.constexpr, T: tl.constexpr, K: tl.constexpr, N: tl.constexpr,
    SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr, FIRST: tl.constexpr, FINAL: tl.constexpr,
):  # fmt: skip
    """One direction. The first writes ``out``, a second adds to it; the final one gates the sum."""
    image, group, channel, in_use = place(sizes, K)
    states, exist = cells(image, channel, in_use, sizes, N)
    rate = rates(A, channel, exist, sizes, N)
    h = tl.zeros_like(rate)
    for chunk in range(CHUNKS):
        time, mask = times(chunk, 0, in_use, sizes, T, REVERSE)
        if starts is not None:
            tl.store(starts + cells_of_chunk(image, channel, chunk, sizes, N), h, exist)
        u = load(u_stream, image, channel, time, mask)
        raw = load(delta_stream, image, channel, time, mask)
        dt = step_sizes(raw, bias, channel, in_use, mask, SOFTPLUS)
        B = load_rows(B_rows, image, group, chunk, sizes, T, N, REVERSE)
        C = load_rows(C_rows, image, group, chunk, sizes, T, N, REVERSE)
        all_h = run_states(dt, rate, (dt * u)[:, :, None] * B[:, None, :], h)
        h = row(all_h, T - 1, T)
        y = tl.sum(all_h * C[:, None, :], 2)
        if D is not None:
            y += tl.load(D + channel, in_use, 0.0)[None, :] * u
        if not FIRST:
            y += load(out, image, channel, time, mask)
        if FINAL:
            y *= sizes.scale
            if z_stream.data is not None:
                gate = load(z_stream, image, channel, time, mask)
                y *= gate * sigmoid(gate)
        store(out, image, channel, time, mask, y)
    if last is not None:
        tl.store(last + states, h, exist)


@triton.jit
def scan_backward(
    u_stream, delta_stream, A, B_rows, C_rows, D, bias, z_stream,
    starts, grad_out, grad_last, grad_u, grad_delta, grad_z, sums, sizes,
    CHUNKS: tl.constexpr, T: tl.constexpr, K: tl.constexpr, N: tl.constexpr,
    SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr, FIRST: tl.constexpr,
):  # fmt: skip
    """Gradients of one direction, from its last chunk to its first."""
    image, group, channel, in_use = place(sizes, K)
    states, exist = cells(image, channel, in_use, sizes, N)
    rate = rates(A, channel, exist, sizes, N)
    sum_A = tl.zeros_like(rate)
    adjoint_after = sum_A if grad_last is None else tl.load(grad_last + states, exist, 0.0)
    sum_D = tl.sum(sum_A, 1)
    sum_bias = sum_D
    skip = sum_D if D is None else tl.load(D + channel, in_use, 0.0)
    for back in range(CHUNKS):
        chunk = CHUNKS - 1 - back
        time, mask = times(chunk, 0, in_use, sizes, T, REVERSE)
        u = load(u_stream, image, channel, time, mask)
        raw = load(delta_stream, image, channel, time, mask)
        dt = step_sizes(raw, bias, channel, in_use, mask, SOFTPLUS)
        B = load_rows(B_rows, image, group, chunk, sizes, T, N, REVERSE)
        C = load_rows(C_rows, image, group, chunk, sizes, T, N, REVERSE)
        x = (dt * u)[:, :, None] * B[:, None, :]
        h = tl.load(starts + cells_of_chunk(image, channel, chunk, sizes, N), exist, 0.0)
        all_h = run_states(dt, rate, x, h)
        grad_y = sizes.scale * load(grad_out, image, channel, time, mask)
        if z_stream.data is not None:
            y = tl.sum(all_h * C[:, None, :], 2) + skip[None, :] * u
            gate = load(z_stream, image, channel, time, mask)
            grad_gate = grad_y * y * silu_slope(gate)
            if not FIRST:
                grad_gate += load(grad_z, image, channel, time, mask)
            store(grad_z, image, channel, time, mask, grad_gate)
            grad_y *= gate * sigmoid(gate)
        time_after, mask_after = times(chunk, 1, in_use, sizes, T, REVERSE)
        raw_after = load(delta_stream, image, channel, time_after, mask_after)
        dt_after = step_sizes(raw_after, bias, channel, in_use, mask_after, SOFTPLUS)
        adjoint = state_gradients(dt_after, rate, grad_y[:, :, None] * C[:, None, :], adjoint_after)
        adjoint_after = row(adjoint, 0, T)
        exponent = adjoint * (all_h - x)  # gradient of dt * A: all_h - x is a * (the state before)
        grad_x = tl.sum(adjoint * B[:, None, :], 2)
        grad_dt = tl.sum(exponent * rate[None], 2) + grad_x * u
        grad_dt *= step_slope(raw, bias, channel, in_use, mask, SOFTPLUS)
        store(grad_u, image, channel, time, mask, grad_x * dt + grad_y * skip[None, :])
        store(grad_delta, image, channel, time, mask, grad_dt)
        sum_A += tl.sum(exponent * dt[:, :, None], 0)
        sum_D += tl.sum(grad_y * u, 0)
        sum_bias += tl.sum(grad_dt, 0)
        rows, rows_exist = rows_of_program(time, chunk, sizes, T, N)
        tl.store(sums.B + rows, tl.sum(adjoint * (dt * u)[:, :, None], 1), rows_exist)
        tl.store(sums.C + rows, tl.sum(all_h * grad_y[:, :, None], 1), rows_exist)
    tl.store(sums.A + states, sum_A, exist)
    tl.store(sums.D + image * sizes.channels + channel, sum_D, in_use)
    tl.store(sums.bias + image * sizes.channels + channel, sum_bias, in_use)
