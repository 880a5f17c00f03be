"""The stages of the recurrent backbone: their strided convolution, ConvLSTM, recurrent state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from smalldet.kernels import lstm_update
from smalldet.kernels.count_conv import convolve_counts
from smalldet.layers.conv_lstm import ConvLSTM
from smalldet.layers.recurrent_stage import Downsample
from smalldet.layers.recurrent_state import (
    detach_state,
    join_streams,
    map_state,
    reset_state,
    take_streams,
)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_counts_are_convolved_as_numbers_would_be(factor: int, overlap: bool):
    torch.manual_seed(0)
    layer = Downsample(3, 5, factor, overlap).double()
    counts = torch.randint(0, 256, (2, 3, 2 * factor, 6 * factor), dtype=torch.uint8)
    results = []
    for x in (counts, counts.double()):
        out = layer(x)
        results.append((out, *torch.autograd.grad(out[..., 0].sum(), layer.conv.weight)))
    torch.testing.assert_close(*results)


def test_half_precision_holds_all_counts():
    counts = torch.full((1, 1, 2, 4), 255, dtype=torch.uint8)
    weight = torch.ones(1, 1, 3, 3, dtype=torch.bfloat16)
    out = convolve_counts(counts, weight, 2)
    torch.testing.assert_close(out, F.conv2d(counts.bfloat16(), weight, stride=2, padding=1))


def state(streams: int, seed: int = 0) -> Any:
    """Nested as a neck's beside a backbone's."""
    generator = torch.Generator().manual_seed(seed)
    a, b, c = (torch.randn(streams, 2, 3, 3, generator=generator) for _ in range(3))
    return (((a, b), None), c)


def test_one_position_equals_pytorchs_lstm_cell():
    """A 1x1 map is an ordinary LSTM; PyTorch orders the gates i, f, g, o, ours are f, i, o, g."""
    torch.manual_seed(0)
    ours, theirs = ConvLSTM(5), torch.nn.LSTMCell(5, 5)
    weight, bias = ours.conv1x1.weight[:, :, 0, 0], ours.conv1x1.bias
    f, i, o, g = (torch.arange(5) + 5 * k for k in range(4))
    order = torch.cat([i, f, g, o])
    with torch.no_grad():
        theirs.weight_ih.copy_(weight[order, :5])
        theirs.weight_hh.copy_(weight[order, 5:])
        theirs.bias_ih.copy_(bias[order])
        theirs.bias_hh.zero_()
    x, h, c = torch.randn(3, 4, 5).unbind()
    hidden, cell = ours(x[..., None, None], (h[..., None, None], c[..., None, None]))
    wanted = theirs(x, (h, c))
    torch.testing.assert_close((hidden[..., 0, 0], cell[..., 0, 0]), wanted)


@pytest.mark.parametrize("dws_conv", [False, True])
def test_neighbours_are_seen_with_the_depthwise_convolution_only(dws_conv: bool):
    torch.manual_seed(0)
    lstm = ConvLSTM(2, dws_conv=dws_conv)
    x, hidden = torch.randn(2, 1, 2, 5, 5)
    cell, moved = torch.zeros_like(x), hidden.clone()
    moved[..., 2, 2] += 1
    changed = (lstm(x, (moved, cell))[0] != lstm(x, (hidden, cell))[0]).any(1)[0]
    assert changed.sum() == (9 if dws_conv else 1)


@pytest.mark.skipif(not lstm_update.KERNEL.available(), reason="no compiler")
@pytest.mark.parametrize("channels", [1, 16, 19, 48])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_compiled_kernel_computes_the_same(channels: int, scale: float):
    generator = torch.Generator().manual_seed(0)
    given = [
        scale * torch.randn(2, width, 3, 4, generator=generator, requires_grad=True)
        for width in (4 * channels, channels)
    ]
    results = []
    for update in (lstm_update.update_cell, lstm_update.plain_update):
        hidden, cell = update(*given)
        results.append([hidden, cell, *torch.autograd.grad((hidden - cell).sum(), given)])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    gates = given[0].detach().clone().fill_(torch.nan)
    assert all(x.isnan().all() for x in lstm_update.update_cell(gates, given[1].detach()))


@torch.no_grad()
def test_small_additions_are_not_lost_in_bfloat16():
    """With open gates a cell of 4 grows by 1/256 each step; bfloat16 would stay at 4."""
    lstm = ConvLSTM(1)
    lstm.conv1x1.weight.zero_()
    lstm.conv1x1.bias.copy_(torch.tensor([30.0, 30.0, 30.0, 1 / 256]))
    x, cell = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 4.0)
    state = (x, cell)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(256):
            state = lstm(x, state)
    assert state[1].item() == pytest.approx(5, abs=1e-3)


def test_a_reset_wipes_infinities_too_of_chosen_streams_and_not_in_place():
    before = map_state(lambda x: torch.full_like(x, torch.inf), state(3))
    for mask in ([1, 0, 1], torch.tensor([1, 0, 1]), torch.tensor([True, False, True])):
        ((a, _), _), c = reset_state(before, mask)
        assert not a[[0, 2]].any() and not c[[0, 2]].any()
        assert a[1].isinf().all()
    assert before[1].isinf().all()
    assert reset_state(None, [True]) is None
    with pytest.raises(ValueError, match="one entry a stream"):
        reset_state(before, torch.tensor([True, False]))


def test_detaching_ends_the_graph_and_keeps_the_values():
    live = map_state(lambda x: x.requires_grad_() * 2, state(2))
    cut = detach_state(live)
    assert not cut[1].requires_grad
    torch.testing.assert_close(cut, live)


def test_streams_are_taken_and_joined_again():
    whole = state(3)
    parts = [take_streams(whole, [i]) for i in range(3)]
    torch.testing.assert_close(join_streams(parts), whole)
    ((a, _), nothing), c = join_streams([parts[2], None, parts[0]])
    assert nothing is None and not a[1].any()
    torch.testing.assert_close(c[[0, 2]], whole[1][[2, 0]])
    assert join_streams([None, None]) is None
    with pytest.raises(ValueError, match="different models"):
        join_streams([state(1), (*state(1)[0], None)])
