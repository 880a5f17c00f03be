"""oneDNN asked directly, and the layers on it, against PyTorch's public functions."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nativecode import CheckedKernel
from smalldet.kernels import onednn
from smalldet.kernels.comparison import normal
from smalldet.kernels.onednn import FUSED, Conv2d, Linear

works = pytest.mark.skipif(not onednn.KERNEL.available(), reason="another PyTorch")


@works
@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 3), channels=st.integers(1, 9), out=st.integers(1, 9),
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)), kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2), last=st.booleans(),
    activation=st.sampled_from([*FUSED, nn.LeakyReLU]),
)  # fmt: skip
def test_any_convolution(batch, channels, out, size, kernel, stride, last, activation):
    torch.manual_seed(0)
    layer = Conv2d(channels, out, kernel, stride, kernel // 2).requires_grad_(False)
    x = torch.randn(batch, channels, *size)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    want = F.conv2d(x, layer.weight, layer.bias, stride, kernel // 2)
    torch.testing.assert_close(layer(x), want, rtol=1e-4, atol=1e-5)
    how = (layer.stride, layer.padding, 1)
    packed = onednn.pack_conv(layer.weight, *how, [9, channels, 40, 3])  # made for another input
    want = activation()(want)
    fused = FUSED.get(activation, "none")
    got = onednn.conv2d(x, packed, layer.bias, *how, fused)
    if activation in FUSED:
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    got = layer.convolve(x, layer.weight.clone(), layer.bias, activation())
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert got.is_contiguous(memory_format=torch.channels_last)


@works
def test_it_is_not_asked_where_gradients_or_other_types_are_wanted():
    x, weight = torch.randn(2, 5), torch.randn(3, 5, requires_grad=True)
    assert not onednn.can_infer(x, weight)
    with torch.no_grad():
        assert onednn.can_infer(x, weight, None)
        assert not onednn.can_infer(x.double(), weight)
        assert not onednn.can_infer(x[:0], weight)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not onednn.can_infer(x, weight)
    assert onednn.can_infer(x, weight.detach())
    assert not onednn.can_infer(x.clone().requires_grad_(), weight.detach())


@works
@pytest.mark.parametrize("fault", ["absent", "wrong"])
def test_another_pytorch_goes_the_public_way(monkeypatch: pytest.MonkeyPatch, fault: str):
    def broken(x, *_):
        if fault == "absent":
            raise AttributeError("no such operation")
        return torch.zeros(*x.shape[:-1], 4)

    monkeypatch.setattr(onednn, "linear", broken)
    monkeypatch.setattr(onednn, "KERNEL", CheckedKernel("oneDNN", onednn.KERNEL.agrees))
    assert not onednn.can_infer(torch.ones(1, 2))
    layer, x = Conv2d(2, 3, 1), torch.randn(1, 2, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 3, 4, 5), (0, 5), (64, 64, 5)])
def test_linear_with_gradients_equals_the_ordinary_layer(
    shape: tuple[int, ...], wide: bool, bias: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(onednn, "WIDE", wide)
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
    assert ours.double()(x.double()).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours.float()(x).dtype == torch.bfloat16


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 4), (0,)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_product_added_with_a_gain_is_the_sum(shape, wide, bias, kind, monkeypatch):
    monkeypatch.setattr(onednn, "WIDE", wide)
    layer = Linear(5, 3, bias, dtype=kind)
    sizes = ((*shape, 3), (*shape, 5), (3,))
    x, y, gain = (normal(*size).to(kind).requires_grad_() for size in sizes)
    results = []
    for out in (layer.added(x, y, gain), x + gain * F.linear(y, layer.weight, layer.bias)):
        weights = torch.linspace(-1, 1, out.numel(), dtype=kind).view_as(out)
        inputs = [x, y, gain, *layer.parameters()]
        results.append((out, *torch.autograd.grad((out * weights).sum(), inputs)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("learns", [True, False])
def test_linear_takes_slices_any_order_of_memory_and_numbers_of_rows(bias: bool, learns: bool):
    layer, wide = Linear(5, 3, bias).requires_grad_(learns), torch.randn(2, 6, 9)
    for x in (wide[..., 2:7], wide[:, ::2, :5], torch.randn(2, 5, 6).mT, wide[0, 0, :5]):
        out = layer(x)
        torch.testing.assert_close(out, F.linear(x, layer.weight, layer.bias))
        assert out.is_contiguous()


@torch.no_grad()
@pytest.mark.parametrize("change", ["in place", "data", "load", "replace"])
def test_the_packed_weights_follow_every_change_and_stay_out_of_files(change: str, tmp_path: Path):
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
    torch.save(layer, tmp_path / "layer.pth")
    again = torch.load(tmp_path / "layer.pth", weights_only=False)
    for other in (layer, copy.deepcopy(layer), again):
        torch.testing.assert_close(other(x), F.linear(x, new, layer.bias))
    assert list(layer.state_dict()) == names
