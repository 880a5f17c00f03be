"""The selective scan by its definition, and how any one-way scan does both directions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from smalldet.kernels.scan.inputs import (
    ScanBackend,
    ScanInputs,
    ScanPair,
    gated,
    skip_and_gate,
    step_sizes,
    with_plain_delta,
)


def reference_scan(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """One step after the other: slow, and what every other backend must equal."""
    inputs = with_plain_delta(inputs)
    u, A = inputs.u, inputs.A
    dt = step_sizes(inputs)
    group_size = u.shape[1] // inputs.B.shape[1]
    B, C = (x.repeat_interleave(group_size, dim=1) for x in (inputs.B, inputs.C))  # (B, D, N, L)
    state = u.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for u_t, dt_t, B_t, C_t in zip(*(x.unbind(-1) for x in (u, dt, B, C)), strict=True):
        state = torch.exp(dt_t[..., None] * A) * state + (dt_t * u_t)[..., None] * B_t
        outputs.append((state * C_t).sum(-1))  # (B, D)
    return skip_and_gate(torch.stack(outputs, dim=-1), inputs), state


def pair_by_turning(scan: Callable[[ScanInputs], tuple[Tensor, Tensor]], pair: ScanPair) -> Tensor:
    """Both directions in one ``scan``: the second turned round, the two as groups of channels."""
    ahead, back = with_plain_delta(pair.ahead), _turned(with_plain_delta(pair.back))
    together = ScanInputs(
        u=_side_by_side(ahead.u, back.u),
        delta=_side_by_side(ahead.delta, back.delta),
        A=torch.cat([ahead.A, back.A]),
        B=torch.cat([ahead.B, back.B], dim=1),
        C=torch.cat([ahead.C, back.C], dim=1),
        D=_joined(ahead.D, back.D),
        z=None,
        delta_bias=_joined(ahead.delta_bias, back.delta_bias),
        delta_softplus=ahead.delta_softplus,
    )
    first, second = scan(together)[0].chunk(2, dim=1)
    return gated((first + second.flip(-1)) * pair.scale, pair.z)


def _turned(inputs: ScanInputs) -> ScanInputs:
    streams = {name: getattr(inputs, name).flip(-1) for name in ("u", "delta", "B", "C")}
    return inputs._replace(**streams)


def _side_by_side(first: Tensor, second: Tensor) -> Tensor:
    """(B, 2 D, L) of two (B, D, L), channels adjacent in memory."""
    return torch.cat([first.mT, second.mT], dim=-1).mT


def _joined(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else torch.cat([first, second])


REFERENCE = ScanBackend(reference_scan, partial(pair_by_turning, reference_scan))
