"""The scan of exported programs is one loop that equals the reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smalldet.kernels.scan.backends import resolve_backend
from smalldet.layers.selective_scan import selective_scan

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")


class Scan(nn.Module):
    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        inputs: dict[str, Any] = dict(zip(NAMES, tensors, strict=True))
        options: Any = {"delta_softplus": True, "return_last_state": True}
        out, state = selective_scan(**inputs, **options)
        return out, state


def test_an_exported_scan_is_one_loop_that_equals_the_reference() -> None:
    generator = torch.Generator().manual_seed(0)
    batch, channels, groups, states, length = 2, 6, 2, 3, 40
    shapes = {
        "u": (batch, channels, length),
        "delta": (batch, channels, length),
        "A": (channels, states),
        "B": (batch, groups, states, length),
        "C": (batch, groups, states, length),
        "D": (channels,),
        "z": (batch, channels, length),
        "delta_bias": (channels,),
    }
    inputs = {k: torch.randn(shapes[k], generator=generator) for k in NAMES}
    inputs["A"] = -inputs["A"].exp()
    program = torch.export.export(Scan(), tuple(inputs.values()), strict=False)
    assert len(program.graph.nodes) < 80  # and not some for each of 40 steps
    want = selective_scan(
        **inputs, delta_softplus=True, return_last_state=True, backend="reference"
    )
    for got, expected in zip(program.module()(*inputs.values()), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_elsewhere_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"looped.*for torch\.export alone"):
        resolve_backend("looped")
