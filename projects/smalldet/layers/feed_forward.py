"""Feed-forward layers and gains of a transformer block, under the names that RVT publishes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from smalldet.kernels.onednn import Linear

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}
GATED_STEP = 32  # the hidden width of a gated layer is a multiple of this


class LayerScale(nn.Module):
    """A learned gain a channel, small at first (Touvron et al., CaiT, 2021, arXiv 2103.17239)."""

    def __init__(self, dim: int, init: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(init)))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., dim) times the gain."""
        return x * self.gamma


class FeedForward(nn.Module):
    """Linear, activation, linear, over the last axis.

    Args:
        dim: channels in and out.
        ratio: hidden channels as a multiple of ``dim``.
        activation: one of ``ACTIVATIONS``.
        gated: a * act(b) in the place of act(a) (Shazeer, GLU Variants Improve Transformer, 2020,
            arXiv 2002.05202), at two thirds of the hidden width, rounded down to a multiple of
            32, so that about as many parameters remain.
        bias: whether the linear layers add one.

    Raises:
        ValueError: an unknown activation, or a gated layer without any hidden channel.
    """

    def __init__(
        self,
        dim: int,
        ratio: float = 4,
        activation: str = "gelu",
        gated: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"mlp_activation={activation!r} is unknown; choose one of {', '.join(ACTIVATIONS)}."
            )
        act = ACTIVATIONS[activation]()
        hidden = int(dim * ratio)
        if gated:
            hidden = _gated_width(dim, ratio)
            first: nn.Module = GatedLinear(dim, hidden, act, bias)
        else:
            first = nn.Sequential(Linear(dim, hidden, bias=bias), act)
        # The place in the middle keeps the published names: a dropout that is 0 in every release.
        self.net = nn.Sequential(first, nn.Identity(), Linear(hidden, dim, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return self.net(x)


class GatedLinear(nn.Module):
    """a * act(b), where a and b are the halves of one linear layer."""

    def __init__(self, dim: int, hidden: int, act: nn.Module, bias: bool = True) -> None:
        super().__init__()
        self.proj = Linear(dim, 2 * hidden, bias=bias)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., hidden)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * self.act(gate)


def _gated_width(dim: int, ratio: float) -> int:
    width = math.floor(int(dim * ratio) * 2 / 3 / GATED_STEP) * GATED_STEP
    if width == 0:
        raise ValueError(
            f"A gated feed-forward layer of {dim} channels at ratio {ratio} has no hidden channel "
            f"(its width is rounded down to a multiple of {GATED_STEP}); widen the model, or set "
            "mlp_gated=False."
        )
    return width
