"""What a backend of the selective scan is given, and the arithmetic around its recurrence.

Shape shorthand: B batch, D channels, N states per channel, L steps, G groups of channels that
share their B and C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Above it softplus(x) = x + log(1 + exp(-x)) is x itself, in all digits of the type.
LINEAR_FROM = {torch.float32: 20.0, torch.float64: 40.0}


class ScanInputs(NamedTuple):
    """The tensors of one scan; see ``selective_scan``."""

    u: Tensor  # (B, D, L)
    delta: Tensor  # (B, D, L), or (B, R, L) with delta_factor
    A: Tensor  # (D, N)
    B: Tensor  # (B, G, N, L)
    C: Tensor  # (B, G, N, L)
    D: Tensor | None  # (D,)
    z: Tensor | None  # (B, D, L)
    delta_bias: Tensor | None  # (D,)
    delta_softplus: bool
    delta_factor: Tensor | None = None  # (D, R): the step sizes are its product with delta


class ScanPair(NamedTuple):
    """Two scans over one sequence, ``back`` from its end; neither has a ``z`` of its own."""

    ahead: ScanInputs
    back: ScanInputs
    z: Tensor | None  # (B, D, L)
    scale: float


class ScanBackend(NamedTuple):
    """One way to compute it; both functions are differentiable in every tensor."""

    scan: Callable[[ScanInputs], tuple[Tensor, Tensor]]  # output (B, D, L), last state (B, D, N)
    pair: Callable[[ScanPair], Tensor]  # scale * (sum of both outputs) * SiLU(z): (B, D, L)


def with_plain_delta(inputs: ScanInputs) -> ScanInputs:
    """The same scan with ``delta`` (B, D, L) multiplied out."""
    if inputs.delta_factor is None:
        return inputs
    delta = F.linear(inputs.delta.mT, inputs.delta_factor).mT
    return inputs._replace(delta=delta, delta_factor=None)


def step_sizes(inputs: ScanInputs) -> Tensor:
    """dt (B, D, L): delta plus its bias, through softplus if so asked."""
    dt = inputs.delta
    if inputs.delta_bias is not None:
        dt = dt + inputs.delta_bias[:, None]
    return F.softplus(dt, threshold=LINEAR_FROM[dt.dtype]) if inputs.delta_softplus else dt


def skip_and_gate(y: Tensor, inputs: ScanInputs) -> Tensor:
    """Add the direct connection to ``y`` (B, D, L) and apply the gate."""
    if inputs.D is not None:
        y = torch.addcmul(y, inputs.u, inputs.D[:, None])
    return gated(y, inputs.z)


def gated(y: Tensor, z: Tensor | None) -> Tensor:
    """``y`` times SiLU(z)."""
    return y if z is None else y * F.silu(z)


def in_wide_type(inputs: ScanInputs) -> ScanInputs:
    """All tensors in float64 if ``u`` is, else in float32."""
    dtype = torch.float64 if inputs.u.dtype == torch.float64 else torch.float32
    tensors = {k: v.to(dtype) for k, v in inputs._asdict().items() if isinstance(v, Tensor)}
    return inputs._replace(**tensors)


def check_shapes(inputs: ScanInputs) -> None:
    """Whether the shapes fit together.

    Raises:
        ValueError: if they do not.
    """
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
    factor = inputs.delta_factor
    ranks = channels if factor is None else factor.shape[-1]
    expected = {
        "delta": (inputs.delta, (batch, ranks, length)),
        "delta_factor": (factor, (channels, ranks)),
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
