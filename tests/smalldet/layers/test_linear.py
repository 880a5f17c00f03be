"""The linear layer through oneDNN against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from smalldet.layers.linear import Linear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 3, 4, 5), (0, 5), (64, 64, 5)])
def test_equals_the_ordinary_layer(shape: tuple[int, ...], bias: bool):
    torch.manual_seed(0)
    ours, theirs = Linear(5, 3, bias), nn.Linear(5, 3, bias)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape, requires_grad=True)
    results = []
    for layer in (ours, theirs):
        out = layer(x)
        weights = torch.linspace(-1, 1, out.numel()).view_as(out)
        grads = torch.autograd.grad((out * weights).sum(), [x, *layer.parameters()])
        results.append((out, *grads))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


def test_any_order_of_memory():
    layer, x = Linear(5, 3), torch.randn(5, 4, 6).permute(2, 1, 0)
    torch.testing.assert_close(layer(x), layer(x.contiguous()))
    assert layer(x).is_contiguous()


def test_other_types_go_the_ordinary_way():
    layer, x = Linear(5, 3), torch.randn(2, 5)
    assert layer.double()(x.double()).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.float()(x).dtype == torch.bfloat16
