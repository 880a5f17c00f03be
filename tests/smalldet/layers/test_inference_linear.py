"""The product that is F.linear, by whichever library."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from smalldet.layers.inference_linear import inference_linear


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 7, 5), (1, 1, 5)])
@pytest.mark.parametrize("learns", [True, False])
def test_equals_linear(shape: tuple[int, ...], learns: bool) -> None:
    x, weight = torch.randn(shape), torch.randn(3, 5, requires_grad=learns)
    got, want = inference_linear(x, weight), F.linear(x, weight)
    torch.testing.assert_close(got, want)
    assert got.requires_grad == learns


def test_slices_and_other_types_are_fine() -> None:
    wide = torch.randn(2, 6, 9)
    weight = torch.randn(4, 5)
    for x in (wide[..., 2:7], wide[:, ::2, :5], torch.randn(2, 5, 6).mT):
        torch.testing.assert_close(inference_linear(x, weight), F.linear(x, weight))
    exact = inference_linear(wide[..., :5].double(), weight.double())
    assert exact.dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert inference_linear(wide[..., :5], weight).dtype == torch.bfloat16
