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

from torch import Tensor

from smalldet.kernels.scan.backends import BACKENDS, resolve_backend
from smalldet.kernels.scan.inputs import ScanInputs, ScanPair, check_shapes, in_wide_type
from smalldet.layers.precision import without_autocast


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
        ValueError: if the backend is unknown or unusable here, or the shapes do not fit together.
    """
    run = BACKENDS[resolve_backend(backend, u.device, u.dtype)].scan
    inputs = _checked(ScanInputs(u, delta, A, B, C, D, z, delta_bias, delta_softplus))
    with without_autocast(u.device):
        out, last_state = run(inputs)
    out = out.to(u.dtype)
    return (out, last_state) if return_last_state else out


def bidirectional_scan(
    ahead: ScanInputs,
    back: ScanInputs,
    z: Tensor | None = None,
    scale: float = 1.0,
    backend: str = "auto",
) -> Tensor:
    """Scan one sequence from both ends: scale * (sum of both outputs) * SiLU(z).

    All tensors are in the order of the sequence: nothing is turned round, ``back`` runs from the
    last step to the first.

    Args:
        ahead: the arguments of :func:`selective_scan` for the direction from the start, ``z`` None.
        back: the same for the direction from the end.
        z: gate (B, D, L) of the sum; None leaves it out.
        scale: 0.5 for the mean of both directions.
        backend: "auto" or a name in ``BACKENDS``.

    Returns:
        (B, D, L) in the type of ``ahead.u``.

    Raises:
        ValueError: as :func:`selective_scan`; if the two differ in shape or softplus, or have a z.
    """
    run = BACKENDS[resolve_backend(backend, ahead.u.device, ahead.u.dtype)].pair
    if ahead.z is not None or back.z is not None:
        raise ValueError("bidirectional_scan gates the sum: give z to it, not to the directions.")
    if (ahead.u.shape, ahead.delta_softplus) != (back.u.shape, back.delta_softplus):
        raise ValueError(
            "bidirectional_scan needs two scans of one shape and one softplus setting; got u "
            f"{tuple(ahead.u.shape)} and {tuple(back.u.shape)}."
        )
    gate = _checked(ahead._replace(z=z)).z
    pair = ScanPair(_checked(ahead), _checked(back), gate, scale)
    with without_autocast(ahead.u.device):
        return run(pair).to(ahead.u.dtype)


def _checked(inputs: ScanInputs) -> ScanInputs:
    B, C = (x.unsqueeze(1) if x.dim() == 3 else x for x in (inputs.B, inputs.C))
    inputs = inputs._replace(B=B, C=C)
    check_shapes(inputs)
    return in_wide_type(inputs)
