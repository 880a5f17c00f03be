"""Parts of the Triton kernels of ``triton_kernels``: places in memory, reading, arithmetic.

Shape shorthand: T steps of a chunk, K channels of a program, N states.
"""

# pyright: reportGeneralTypeIssues=false, reportCallIssue=false
from __future__ import annotations

import triton
import triton.language as tl

# Places ------------------------------------------------------------------------------------------


@triton.jit
def place(sizes, K: tl.constexpr):
    """Image, group, channels (K,) and which of these exist, of this program."""
    size = sizes.channels // sizes.groups
    blocks = tl.cdiv(size, K)
    program = tl.program_id(0)
    inside = program % blocks * K + tl.arange(0, K)
    group = program // blocks % sizes.groups
    image = (program // blocks // sizes.groups).to(tl.int64)
    return image, group, group * size + inside, inside < size


@triton.jit
def cells(image, channel, in_use, sizes, N: tl.constexpr):
    """Places (K, N) in (images, channels, states), and which exist."""
    n = tl.arange(0, N)
    cells = (image * sizes.channels + channel)[:, None] * sizes.states + n[None, :]
    return cells, in_use[:, None] & (n < sizes.states)[None, :]


@triton.jit
def cells_of_chunk(image, channel, chunk, sizes, N: tl.constexpr):
    """Places (K, N) in (images, chunks, channels, states)."""
    row = (image * sizes.chunks + chunk) * sizes.channels + channel
    return row[:, None] * sizes.states + tl.arange(0, N)[None, :]


@triton.jit
def times(chunk, shift, in_use, sizes, T: tl.constexpr, REVERSE: tl.constexpr):
    """Times (T,) of the steps of a chunk, ``shift`` later; mask (T, K) of what exists."""
    steps = chunk * T + shift + tl.arange(0, T)
    mask = (steps < sizes.length)[:, None] & in_use[None, :]
    return (sizes.length - 1 - steps if REVERSE else steps), mask


@triton.jit
def rows_of_program(time, chunk, sizes, T: tl.constexpr, N: tl.constexpr):
    """Places (T, N) in (programs, length, states), and which exist."""
    n = tl.arange(0, N)
    row = tl.program_id(0).to(tl.int64) * sizes.length + time
    steps = chunk * T + tl.arange(0, T)
    exist = (steps < sizes.length)[:, None] & (n < sizes.states)[None, :]
    return row[:, None] * sizes.states + n[None, :], exist


# Reading and writing -----------------------------------------------------------------------------


@triton.jit
def _stream_places(stream, image, channel, time):
    channels, times = channel[None, :] * stream.channel, time[:, None] * stream.time
    return stream.data + image * stream.image + channels + times


@triton.jit
def load(stream, image, channel, time, mask):
    """(T, K), 0 where there is nothing."""
    return tl.load(_stream_places(stream, image, channel, time), mask, 0.0)


@triton.jit
def store(stream, image, channel, time, mask, value):
    tl.store(_stream_places(stream, image, channel, time), value, mask)


@triton.jit
def rates(A, channel, exist, sizes, N: tl.constexpr):
    """A (K, N)."""
    cells = channel[:, None] * sizes.states + tl.arange(0, N)[None, :]
    return tl.load(A + cells, exist, 0.0)


@triton.jit
def load_rows(
    rows, image, group, chunk, sizes, T: tl.constexpr, N: tl.constexpr, REVERSE: tl.constexpr
):
    """B or C of a chunk (T, N)."""
    n = tl.arange(0, N)
    steps = chunk * T + tl.arange(0, T)
    exist = (steps < sizes.length)[:, None] & (n < sizes.states)[None, :]
    time = sizes.length - 1 - steps if REVERSE else steps
    place = rows.data + image * rows.image + group * rows.group
    return tl.load(place + n[None, :] * rows.state + time[:, None] * rows.time, exist, 0.0)


# Arithmetic --------------------------------------------------------------------------------------


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def silu_slope(x):
    """The derivative of x * sigmoid(x)."""
    return sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)))


@triton.jit
def softplus(x):
    """log(1 + exp(x)), x above 20; log(1 + t) is the polynomial of ``csrc/vector_math.h``."""
    t = tl.exp(-tl.abs(x))
    p = t * -3.318469628e-3 + 2.020457184e-2
    p = p * t - 5.766441981e-2
    p = p * t + 1.068055307e-1
    p = p * t - 1.535539490e-1
    p = p * t + 1.969540008e-1
    p = p * t - 2.495858734e-1
    p = p * t + 3.333051131e-1
    p = p * t - 4.999993276e-1
    p = p * t + 1.0
    return tl.where(x > 20.0, x, tl.maximum(x, 0.0) + p * t)


@triton.jit
def step_sizes(raw, bias, channel, in_use, mask, SOFTPLUS: tl.constexpr):
    """dt (T, K); 0 at steps that do not exist, which leaves the state as it is."""
    if bias is not None:
        raw += tl.load(bias + channel, in_use, 0.0)[None, :]
    if SOFTPLUS:
        raw = softplus(raw)
    return tl.where(mask, raw, 0.0)


@triton.jit
def step_slope(raw, bias, channel, in_use, mask, SOFTPLUS: tl.constexpr):
    """The derivative of ``_step_sizes``."""
    if bias is not None:
        raw += tl.load(bias + channel, in_use, 0.0)[None, :]
    slope = tl.where(raw > 20.0, 1.0, sigmoid(raw)) if SOFTPLUS else raw * 0.0 + 1.0
    return tl.where(mask, slope, 0.0)


@triton.jit
def _follow(a_first, x_first, a_second, x_second):
    """Two stretches of the recurrence as one."""
    return a_first * a_second, a_second * x_first + x_second


@triton.jit
def run_states(dt, rate, x, h):
    """States (T, K, N) behind each step of a chunk entered in state ``h`` (K, N)."""
    decay = tl.exp(dt[:, :, None] * rate[None])
    decays, sums = tl.associative_scan((decay, x), 0, _follow)
    return decays * h[None] + sums


@triton.jit
def state_gradients(dt_after, rate, own, after):
    """Gradients (T, K, N) of the states: own[t] + decay[t + 1] * gradient[t + 1]."""
    decay = tl.exp(dt_after[:, :, None] * rate[None])
    decays, sums = tl.associative_scan((decay, own), 0, _follow, reverse=True)
    return decays * after[None] + sums


@triton.jit
def row(x, which: tl.constexpr, T: tl.constexpr):
    """Row ``which`` of ``x`` (T, K, N)."""
    return tl.sum(tl.where((tl.arange(0, T) == which)[:, None, None], x, 0.0), 0)
