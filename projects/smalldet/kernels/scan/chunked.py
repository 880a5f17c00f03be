"""The recurrence of the selective scan in chunks of steps, with a hand-written backward pass.

A chunk's decays and inputs are computed at once into two work buffers small enough for the
cache; the steps are then one in-place multiply-add each. Autograd cannot follow in-place steps,
so the gradient is written out: it is the same kind of recurrence, run backwards in time, over
states that are computed again from the saved first state of each chunk. Memory therefore grows
with the number of chunks instead of with all L of them.

Shape shorthand: L steps, T steps of one chunk, B batch, G groups, N states, D channels per group.
Time is the first axis and channels the last, so that every step is one contiguous block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smalldet.kernels.scan.inputs import ScanInputs, skip_and_gate, step_sizes, with_plain_delta

# Measured on 2 CPU cores: up to a buffer of 2 MiB, longer chunks are faster, above all where waking
# a second thread takes long; from 64 steps on they gain nothing.
LONGEST_CHUNK = 64
BUFFER = 2**19  # numbers


def chunked_scan(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Output (B, D, L) and last state (B, D, N), in chunks of steps; see the top of the file."""
    inputs, groups = with_plain_delta(inputs), inputs.B.shape[1]
    # Steps come first also in memory: reading across it would take longer than these copies.
    u, dt = (_time_first(x, groups) for x in (inputs.u, step_sizes(inputs)))
    A = inputs.A.unflatten(0, (groups, -1)).transpose(1, 2).contiguous()  # (G, N, D / G)
    B, C = (x.permute(3, 0, 1, 2).contiguous() for x in (inputs.B, inputs.C))  # (L, B, G, N)
    y, state = chunked_recurrence(u, dt, A, B, C)
    y = y.flatten(2).permute(1, 2, 0)
    return skip_and_gate(y, inputs), state.transpose(2, 3).flatten(1, 2)


def chunked_recurrence(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs y[t] = C[t] . h[t] of h[t] = exp(dt[t] * A) * h[t-1] + dt[t] * u[t] * B[t].

    Args:
        u: input (L, B, G, D).
        dt: step sizes (L, B, G, D).
        A: decay rates (G, N, D).
        B: input weights (L, B, G, N).
        C: output weights (L, B, G, N).

    Returns:
        y (L, B, G, D) and the last state (B, G, N, D). Differentiable once in every argument.
    """
    return _ChunkedRecurrence.apply(u, dt, A, B, C)


class _Buffers(NamedTuple):
    """Uninitialised memory for one chunk, (T, B, G, N, D), and views of its steps."""

    decays: Tensor
    states: Tensor
    steps: list[tuple[Tensor, Tensor]]  # decay and state of each step


class _ChunkedRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See :func:`chunked_recurrence`."""
        buffers = _work_buffers(u, A)
        state = u.new_zeros(u.shape[1], *A.shape)
        y = u.new_empty(u.shape)
        starts = []  # of the chunks; kept for the backward pass only
        for part in _chunks(len(u), buffers):
            if any(ctx.needs_input_grad):
                starts.append(state)
            _, states = _states_of_chunk(state, u[part], dt[part], A, B[part], buffers)
            torch.bmm(
                C[part].flatten(0, 2).unsqueeze(1),
                states.flatten(0, 2),
                out=y[part].flatten(0, 2).unsqueeze(1),
            )
            state = states[-1].clone()  # the buffer is about to be used again
        ctx.save_for_backward(u, dt, A, B, C, *starts)
        return y, state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(grad_y.device.type, enabled=False):
            return _backward(ctx.saved_tensors, grad_y, grad_last)


def _backward(saved: tuple[Tensor, ...], grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor, ...]:
    u, dt, A, B, C, *starts = saved
    buffers = _work_buffers(u, A)
    grad_u, grad_dt, grad_B, grad_C = (torch.empty_like(x) for x in (u, dt, B, C))
    grad_A = torch.zeros_like(A)
    carry = grad_last  # gradient that later chunks send into the state at the end of this one
    for start, part in reversed(list(zip(starts, _chunks(len(u), buffers), strict=True))):
        decays, states = _states_of_chunk(start, u[part], dt[part], A, B[part], buffers)
        adjoint, carry = _adjoint_of_chunk(carry, grad_y[part], C[part], decays)
        x = dt[part] * u[part]
        grad_x = torch.matmul(B[part].unsqueeze(-2), adjoint).squeeze(-2)
        grad_B[part] = torch.matmul(adjoint, x.unsqueeze(-1)).squeeze(-1)
        grad_C[part] = torch.matmul(states, grad_y[part].unsqueeze(-1)).squeeze(-1)
        exponent = _grad_of_exponent(adjoint, start, decays, states)
        grad_A += (exponent * dt[part].unsqueeze(-2)).sum((0, 1))
        grad_dt[part] = (exponent * A).sum(-2) + grad_x * u[part]
        grad_u[part] = grad_x * dt[part]
    return grad_u, grad_dt, grad_A, grad_B, grad_C


def _states_of_chunk(
    start: Tensor, u: Tensor, dt: Tensor, A: Tensor, B: Tensor, buffers: _Buffers
) -> tuple[Tensor, Tensor]:
    """Decays and states (T, B, G, N, D), in ``buffers``, of a chunk entered in state ``start``."""
    decays, states = buffers.decays[: len(u)], buffers.states[: len(u)]
    torch.mul(dt.unsqueeze(-2), A, out=decays).exp_()
    torch.mul((dt * u).unsqueeze(-2), B.unsqueeze(-1), out=states)
    previous = start
    for decay, state in buffers.steps[: len(u)]:
        previous = state.addcmul_(decay, previous)
    return decays, states


def _adjoint_of_chunk(
    carry: Tensor, grad_y: Tensor, C: Tensor, decays: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of each state (T, B, G, N, D), and what flows on into the chunk before."""
    adjoint = grad_y.unsqueeze(-2) * C.unsqueeze(-1)
    for step in reversed(range(len(adjoint))):
        adjoint[step] += carry
        carry = decays[step] * adjoint[step]
    return adjoint, carry


def _grad_of_exponent(adjoint: Tensor, start: Tensor, decays: Tensor, states: Tensor) -> Tensor:
    """Gradient of dt * A (T, B, G, N, D); overwrites ``decays``."""
    exponent = decays.mul_(adjoint)
    exponent[0] *= start
    exponent[1:] *= states[:-1]
    return exponent


def _work_buffers(u: Tensor, A: Tensor) -> _Buffers:
    steps = BUFFER // (u.shape[1] * A.numel())
    shape = (min(max(8, steps), LONGEST_CHUNK, len(u)), u.shape[1], *A.shape)
    decays, states = u.new_empty(shape), u.new_empty(shape)
    return _Buffers(decays, states, list(zip(decays.unbind(), states.unbind(), strict=True)))


def _chunks(length: int, buffers: _Buffers) -> Iterator[slice]:
    steps = len(buffers.steps)
    return (slice(start, min(start + steps, length)) for start in range(0, length, steps))


def _time_first(x: Tensor, groups: int) -> Tensor:
    """(B, D, L) -> (L, B, G, D / G)."""
    return x.permute(2, 0, 1).contiguous().unflatten(-1, (groups, -1))
