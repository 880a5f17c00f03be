"""The rotary position table against the official one."""

from __future__ import annotations

import pytest
import torch

from smalldet.layers.rope import axial_rope_table, rotate_pairs
from vim_golden import golden, relative_error


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


def test_widths_without_pairs_are_errors() -> None:
    with pytest.raises(ValueError, match="multiple of 4 channels, got 6"):
        axial_rope_table((2, 2), 6, pretrain_grid=2)
