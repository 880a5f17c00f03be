"""The bidirectional Mamba mixer and the residual block of Vision Mamba.

Zhu et al., Vision Mamba, 2024, arXiv 2401.09417, section 3.2 and algorithm 1; the details (two
full sets of scan parameters, "bimamba v2", and the mean of the directions, "div2") are those of
the published weights, and so are all parameter names.

Shape shorthand: B batch, L tokens, E embedding channels, I = 2 E inner channels, N states,
R rank of the step sizes.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn

from nativecode import UsesKernels
from smalldet.kernels import causal_conv
from smalldet.kernels.causal_conv import ConvWeights, convolve_both_ways
from smalldet.kernels.onednn import Linear
from smalldet.kernels.scan import compiled
from smalldet.kernels.scan.backends import resolve_backend
from smalldet.kernels.scan.inputs import ScanInputs
from smalldet.layers.norms import RMSNorm
from smalldet.layers.rope import rotate_pairs
from smalldet.layers.selective_scan import bidirectional_scan

CONV_WIDTH = 4
STEP_SIZE_RANGE = (1e-3, 0.1)


class BidirectionalMixer(UsesKernels, nn.Module):
    """Two selective scans over a token sequence, one from each end, added or averaged.

    Parameters whose names end in ``_b`` (and ``A_b_log``) belong to the scan from the end.

    Args:
        dim: embedding channels E.
        d_state: states N per channel.
        divide_directions: whether the two directions are averaged instead of added. Published
            weights exist for both; nothing in a file's tensors tells which it was.
        scan_backend: backend of ``selective_scan``.
    """

    kernels = (causal_conv.KERNEL, compiled.KERNEL)

    A_log: nn.Parameter  # (I, N); decay rates are -exp of it
    A_b_log: nn.Parameter
    D: nn.Parameter  # (I,)
    D_b: nn.Parameter
    conv1d: nn.Conv1d
    conv1d_b: nn.Conv1d
    x_proj: nn.Linear  # to R step-size channels, then B, then C
    x_proj_b: nn.Linear
    dt_proj: nn.Linear
    dt_proj_b: nn.Linear

    def __init__(
        self, dim: int, d_state: int, divide_directions: bool, scan_backend: str = "auto"
    ) -> None:
        super().__init__()
        inner, rank = 2 * dim, math.ceil(dim / 16)
        self.divide_directions = divide_directions
        self.scan_backend = scan_backend
        self.in_proj = Linear(dim, 2 * inner, bias=False)
        self.out_proj = Linear(inner, dim, bias=False)
        for suffix in ("", "_b"):
            setattr(self, f"conv1d{suffix}", nn.Conv1d(inner, inner, CONV_WIDTH, groups=inner))
            setattr(self, f"x_proj{suffix}", Linear(inner, rank + 2 * d_state, bias=False))
            setattr(self, f"dt_proj{suffix}", nn.Linear(rank, inner))
            decay = torch.arange(1, d_state + 1, dtype=torch.float32).log().repeat(inner, 1)
            setattr(self, f"A{suffix}_log", nn.Parameter(decay))
            setattr(self, f"D{suffix}", nn.Parameter(torch.ones(inner)))
        self.reset_step_sizes()

    @torch.no_grad()
    def reset_step_sizes(self) -> None:
        """Initialise the step-size projections as the published classifier does.

        Forward steps start log-uniform in ``STEP_SIZE_RANGE``. The backward bias starts at 0:
        there the original initialisation is overwritten by the generic one for linear layers.
        """
        bound = self.dt_proj.in_features**-0.5
        for projection in (self.dt_proj, self.dt_proj_b):
            nn.init.uniform_(projection.weight, -bound, bound)
        low, high = (math.log(x) for x in STEP_SIZE_RANGE)
        steps = torch.empty_like(self.dt_proj.bias).uniform_(low, high).exp_()
        self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # inverse of softplus
        self.dt_proj_b.bias.zero_()

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        module = super()._apply(*args, **kwargs)
        resolve_backend("auto", self.D.device)  # moved to a GPU: its kernels are tried now
        return module

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``x`` (B, L, E) along L; the result has the same shape."""
        u, z = self.in_proj(x).chunk(2, dim=-1)  # (B, L, I) each
        backend = resolve_backend(self.scan_backend, u.device, u.dtype)
        inputs = convolve_both_ways(
            u,
            ConvWeights(*self.conv1d.parameters()),
            ConvWeights(*self.conv1d_b.parameters()),
            compiled=backend == "compiled",
        )
        y = bidirectional_scan(
            _scan_inputs(inputs[0], self.x_proj, self.dt_proj, self.A_log, self.D),
            _scan_inputs(inputs[1], self.x_proj_b, self.dt_proj_b, self.A_b_log, self.D_b),
            # Each direction's gate is SiLU of the same z, so it is applied once, to their sum.
            z=z.mT,
            scale=0.5 if self.divide_directions else 1.0,
            backend=backend,
        )
        return self.out_proj(y.mT)


def _scan_inputs(
    u: Tensor, x_proj: nn.Linear, dt_proj: nn.Linear, log_rates: Tensor, D: Tensor
) -> ScanInputs:
    """One direction, of its convolved tokens ``u`` (B, L, I)."""
    rank, d_state = dt_proj.in_features, log_rates.shape[1]
    steps, B, C = x_proj(u).split([rank, d_state, d_state], dim=-1)
    return ScanInputs(
        u=u.mT,
        delta=steps.mT,  # the scan multiplies by the factor and adds the bias, in float32
        A=-torch.exp(log_rates),
        B=B.mT,
        C=C.mT,
        D=D,
        z=None,
        delta_bias=dt_proj.bias,
        delta_softplus=True,
        delta_factor=dt_proj.weight,
    )


class VimBlock(nn.Module):
    """Add, normalise, mix: one layer of Vision Mamba with its separate residual stream."""

    def __init__(self, dim: int, mixer: BidirectionalMixer) -> None:
        super().__init__()
        self.norm = RMSNorm(dim)
        self.mixer = mixer

    def forward(
        self, hidden: Tensor, residual: Tensor | None, rope: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Advance both streams by one layer.

        Args:
            hidden: what the layer before gave (B, L, E).
            residual: sum of everything before that, float32; None at the first layer.
            rope: tables of ``rotate_pairs``. Every layer turns both streams, so the turns add up
                through the depth, as in the published weights.
        """
        if rope is not None:
            hidden = rotate_pairs(hidden, *rope)
            residual = None if residual is None else rotate_pairs(residual, *rope)
        if residual is None:
            residual = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        else:
            residual = residual + hidden
        return self.mixer(self.norm(residual)), residual
