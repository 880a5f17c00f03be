"""Norms and the rotary position table against their formulas and the official numbers."""

from __future__ import annotations

import pytest
import torch

from smalldet.layers.norms import ChannelLayerNorm, RMSNorm, kept_statistics
from smalldet.layers.rope import axial_rope_table, rotate_pairs
from vim_golden import golden, relative_error


def test_rms_norm_is_its_formula() -> None:
    norm = RMSNorm(6)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 5, 6)
    want = x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-5) * norm.weight
    torch.testing.assert_close(norm(x), want)
    assert list(norm.state_dict()) == ["weight"]


def test_rms_norm_keeps_statistics_in_float32() -> None:
    norm = RMSNorm(4)
    x = torch.tensor([[300.0, -300.0, 300.0, 300.0]])
    got = norm.half()(x.half())  # 300^2 overflows float16
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float().abs(), torch.ones(1, 4))
    assert RMSNorm(4).double()(x.double()).dtype == torch.float64


def test_channel_norm_is_its_formula_with_gradients() -> None:
    norm = ChannelLayerNorm(8).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64, requires_grad=True)
    centred = x - x.mean(1, keepdim=True)
    scaled = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-6)
    want = scaled * norm.weight[:, None, None] + norm.bias[:, None, None]
    dout = torch.randn_like(want)
    torch.testing.assert_close(norm(x), want)
    leaves = [x, *norm.parameters()]
    gradients = (torch.autograd.grad(y, leaves, dout) for y in (norm(x), want))
    torch.testing.assert_close(*gradients)
    assert norm(x[:0]).shape == (0, 8, 3, 4)


def test_batch_norms_keep_their_statistics_and_then_their_modes() -> None:
    frozen = torch.nn.BatchNorm2d(2).eval()
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.Dropout(), frozen)
    before = {name: x.clone() for name, x in model.named_buffers()}
    with pytest.raises(KeyError), kept_statistics(model):
        model(torch.randn(1, 2, 1, 1) + 9)
        assert [module.training for module in model] == [False, True, False]
        raise KeyError
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(x, before[name]) for name, x in model.named_buffers())


def test_official_table_and_rotation() -> None:
    arrays = golden("rope_table")
    side, rows = int(arrays["ft"]), arrays["rows"]
    cos, sin = axial_rope_table((side, side), 2 * int(arrays["dim"]), int(arrays["pt"]))
    for table, key in ((cos, "freqs_cos_rows"), (sin, "freqs_sin_rows")):
        assert relative_error(table[rows].repeat_interleave(2, -1), arrays[key]) < 1e-5
    turned = rotate_pairs(arrays["x_rows"], cos[rows], sin[rows])
    assert relative_error(turned, arrays["out_rows"]) < 1e-5


def test_rotation_keeps_lengths_and_turns_back() -> None:
    cos, sin = axial_rope_table((3, 5), 16, pretrain_grid=4)
    x = torch.randn(2, 15, 16)
    turned = rotate_pairs(x, cos, sin)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(rotate_pairs(turned, cos, -sin), x)


def test_rows_and_columns_of_an_oblong_grid_each_fill_the_pretraining_range() -> None:
    cos, _ = axial_rope_table((4, 8), 8, pretrain_grid=4)
    square, _ = axial_rope_table((4, 4), 8, pretrain_grid=4)
    table, square = cos.unflatten(0, (4, 8)), square.unflatten(0, (4, 4))
    assert torch.equal(table[:, ::2], square)
    with pytest.raises(ValueError, match="multiple of 4 channels, got 6"):
        axial_rope_table((2, 2), 6, pretrain_grid=2)
