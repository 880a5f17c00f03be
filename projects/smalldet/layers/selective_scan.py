"""The selective scan of Mamba: one function, several backends.

Per channel d and state n, with step sizes dt, the scan computes (Gu and Dao, Mamba, 2023,
arXiv 2312.00752, equation 2, with the simplified "Euler" input term dt * B that the published
code uses instead of the exact zero-order hold)::

    h[t] = exp(dt[t] * A) * h[t - 1] + dt[t] * B[t] * u[t],   h[-1] = 0
    y[t] = sum over n of C[t, n] * h[t, n] + D * u[t],        out[t] = y[t] * SiLU(z[t])

Shape shorthand: B batch, D channels, N states per channel, L steps, G groups of channels that
share their B and C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from smalldet.layers.chunked_scan import chunked_recurrence


class ScanInputs(NamedTuple):
    """What a backend gets: checked, all of one floating type, B and C with a group axis."""

    u: Tensor  # (B, D, L)
    delta: Tensor  # (B, D, L)
    A: Tensor  # (D, N)
    B: Tensor  # (B, G, N, L)
    C: Tensor  # (B, G, N, L)
    D: Tensor | None  # (D,)
    z: Tensor | None  # (B, D, L)
    delta_bias: Tensor | None  # (D,)
    delta_softplus: bool


ScanBackend = Callable[[ScanInputs], tuple[Tensor, Tensor]]
"""Gives the output (B, D, L) and the last state (B, D, N); differentiable in every input."""


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Run the selective scan along the last axis.

    Everything is computed in float32 (float64 if ``u`` is), also under autocast: the state
    sums over thousands of steps, and exp of a bfloat16 product is off by percents.

    Args:
        u: input (B, D, L).
        delta: step sizes (B, D, L), before bias and softplus.
        A: decay rates (D, N), negative for a stable scan.
        B: input weights (B, N, L), or (B, G, N, L) with one set for every D / G channels.
        C: output weights, shaped as ``B``.
        D: weight of the direct connection (D,); None leaves it out.
        z: gate (B, D, L), applied as SiLU(z); None leaves it out.
        delta_bias: added to ``delta`` (D,).
        delta_softplus: whether the step sizes are softplus(delta + delta_bias).
        return_last_state: whether to also give the state after the last step.
        backend: "auto" or a name in ``BACKENDS``.

    Returns:
        The output (B, D, L) in the type of ``u``; with ``return_last_state`` also the state
        (B, D, N) in the type of the computation.

    Raises:
        ValueError: if the backend is unknown or the shapes do not fit together.
    """
    run = BACKENDS[resolve_backend(backend)]
    B, C = (x.unsqueeze(1) if x.dim() == 3 else x for x in (B, C))
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
    _check_shapes(inputs)
    with torch.autocast(u.device.type, enabled=False):
        out, last_state = run(_in_wide_type(inputs))
    out = out.to(u.dtype)
    return (out, last_state) if return_last_state else out


def resolve_backend(backend: str = "auto") -> str:
    """The name in ``BACKENDS`` that ``backend`` stands for ("auto" picks the fastest one here).

    Raises:
        ValueError: if there is no such backend.
    """
    if backend == "auto":
        return "chunked"
    if backend not in BACKENDS:
        known = ", ".join(["auto", *BACKENDS])
        raise ValueError(f"There is no selective-scan backend {backend!r}; choose one of {known}.")
    return backend


def _in_wide_type(inputs: ScanInputs) -> ScanInputs:
    dtype = torch.float64 if inputs.u.dtype == torch.float64 else torch.float32
    tensors = {k: v.to(dtype) for k, v in inputs._asdict().items() if isinstance(v, Tensor)}
    return inputs._replace(**tensors)


def _reference(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """The definition, one step after the other: slow, and what every other backend must equal."""
    u, A = inputs.u, inputs.A
    dt = _step_sizes(inputs)
    group_size = u.shape[1] // inputs.B.shape[1]
    B, C = (x.repeat_interleave(group_size, dim=1) for x in (inputs.B, inputs.C))  # (B, D, N, L)
    state = u.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for u_t, dt_t, B_t, C_t in zip(*(x.unbind(-1) for x in (u, dt, B, C)), strict=True):
        state = torch.exp(dt_t[..., None] * A) * state + (dt_t * u_t)[..., None] * B_t
        outputs.append((state * C_t).sum(-1))  # (B, D)
    return _skip_and_gate(torch.stack(outputs, dim=-1), inputs), state


def _chunked(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """The same in chunks of steps, in memory that is reused; see ``chunked_scan``."""
    groups = inputs.B.shape[1]
    u, dt = (_time_first(x, groups) for x in (inputs.u, _step_sizes(inputs)))
    A = inputs.A.unflatten(0, (groups, -1)).transpose(1, 2)  # (G, N, D / G)
    B, C = (x.permute(3, 0, 1, 2) for x in (inputs.B, inputs.C))  # (L, B, G, N)
    y, state = chunked_recurrence(u, dt, A, B, C)
    y = y.flatten(2).permute(1, 2, 0)
    return _skip_and_gate(y, inputs), state.transpose(2, 3).flatten(1, 2)


BACKENDS: dict[str, ScanBackend] = {"reference": _reference, "chunked": _chunked}
"""Where a compiled or Triton kernel is added, after it has been compared with the reference."""


def _time_first(x: Tensor, groups: int) -> Tensor:
    """(B, D, L) -> (L, B, G, D / G)."""
    return x.permute(2, 0, 1).unflatten(-1, (groups, -1))


def _step_sizes(inputs: ScanInputs) -> Tensor:
    """dt (B, D, L)."""
    dt = inputs.delta
    if inputs.delta_bias is not None:
        dt = dt + inputs.delta_bias[:, None]
    return F.softplus(dt) if inputs.delta_softplus else dt


def _skip_and_gate(y: Tensor, inputs: ScanInputs) -> Tensor:
    """Add the direct connection to ``y`` (B, D, L) and apply the gate."""
    if inputs.D is not None:
        y = torch.addcmul(y, inputs.u, inputs.D[:, None])
    return y if inputs.z is None else y * F.silu(inputs.z)


def _check_shapes(inputs: ScanInputs) -> None:
    u, A, B = inputs.u, inputs.A, inputs.B
    if u.dim() != 3 or u.shape[-1] == 0 or A.dim() != 2 or B.dim() != 4:
        raise ValueError(
            "selective_scan needs u (B, D, L) with L >= 1, A (D, N) and B (B, N, L) or "
            f"(B, G, N, L); got u {tuple(u.shape)}, A {tuple(A.shape)}, B {tuple(B.shape)}."
        )
    batch, channels, length = u.shape
    groups, states = B.shape[1], A.shape[1]
    if groups == 0 or channels % groups:
        raise ValueError(f"{channels} channels cannot be split into {groups} groups of B and C.")
    like_u, weights = (batch, channels, length), (batch, groups, states, length)
    expected = {
        "delta": (inputs.delta, like_u),
        "A": (A, (channels, states)),
        "B": (B, weights),
        "C": (inputs.C, weights),
        "D": (inputs.D, (channels,)),
        "z": (inputs.z, like_u),
        "delta_bias": (inputs.delta_bias, (channels,)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(
                f"selective_scan: {name} has shape {tuple(tensor.shape)}, but {shape} fits "
                f"u {tuple(u.shape)}, A {tuple(A.shape)} and {groups} groups."
            )
