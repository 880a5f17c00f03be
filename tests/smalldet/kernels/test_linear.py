"""The linear layer through oneDNN against PyTorch's own."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from smalldet.kernels.onednn import Linear


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


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_without_gradients_slices_and_numbers_of_rows_are_fine(bias: bool):
    layer, wide = Linear(5, 3, bias), torch.randn(2, 6, 9)
    for x in (wide[..., 2:7], wide[:, ::2, :5], torch.randn(2, 5, 6).mT, wide[0, 0, :5]):
        torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


@torch.no_grad()
@pytest.mark.parametrize("change", ["in place", "data", "load", "replace"])
def test_the_packed_weights_follow_every_change(change: str):
    layer, x = Linear(5, 3), torch.randn(7, 5)
    names = list(layer.state_dict())
    layer(x)
    new = torch.randn(3, 5)
    if change == "in place":
        layer.weight.copy_(new)
    elif change == "data":
        layer.weight.data = new
    elif change == "load":
        layer.load_state_dict({"weight": new, "bias": layer.bias})
    else:
        layer.weight = nn.Parameter(new)
    want = nn.functional.linear(x, new, layer.bias)
    torch.testing.assert_close(layer(x), want)
    torch.testing.assert_close(copy.deepcopy(layer)(x), want)
    assert list(layer.state_dict()) == names


def test_a_layer_that_has_packed_its_weights_can_be_written_to_a_file(tmp_path: Path):
    layer, x = Linear(5, 3), torch.randn(7, 5)
    with torch.no_grad():
        want = layer(x)
        torch.save(layer, tmp_path / "layer.pth")
        torch.testing.assert_close(torch.load(tmp_path / "layer.pth", weights_only=False)(x), want)
