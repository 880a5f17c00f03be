"""The parts of small-object attention against their formulas, windows and starting points."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalldet.necks.attention import (
    TEMPORAL_WEIGHTS,
    EventTemporalAttention,
    MultiScaleSpatialAttention,
    ScaleAwareChannelAttention,
    SmallObjectAttentionModule,
)

SIZES = [(8, 8), (5, 7), (1, 1)]


# In space ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2, 12])
@pytest.mark.parametrize("scales", [(1, 2, 4), (3,)])
def test_spatial_attention_scales_by_one_to_two(channels, size, scales):
    attention, x = MultiScaleSpatialAttention(channels, scales), torch.randn(2, channels, *size)
    y = attention(x)
    factor = y / x
    assert y.shape == x.shape and factor.min() >= 1 and factor.max() <= 2
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor))  # one map for all channels
    widths = [conv.out_channels for conv in attention.scale_convs]
    assert set(widths) == {max(1, channels // len(scales))}
    reduced = attention.reduce_conv
    assert (reduced.in_channels, reduced.out_channels) == (sum(widths), max(1, sum(widths) // 4))


def test_spatial_attention_sees_as_far_as_its_scales():
    """A single cell moves what its dilations reach: at dilation d the cells at distance d."""
    attention = MultiScaleSpatialAttention(4, (1, 4))
    x = torch.ones(1, 4, 21, 21).requires_grad_()
    attention(x)[0, :, 10, 10].sum().backward()
    reached = x.grad.abs().sum(dim=(0, 1)).nonzero()
    assert (reached - 10).abs().max() == 4 + 1  # a further cell by the 3x3 convolution behind


# In time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", TEMPORAL_WEIGHTS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("channels", "window"), [(1, 2), (3, 3), (8, 5)])
def test_temporal_attention_looks_back_exactly_its_window(channels, size, window, weights):
    attention = EventTemporalAttention(channels, window, weights)
    clip = [torch.randn(2, channels, *size) for _ in range(window + 1)]

    def last(steps: list[Tensor]) -> Tensor:
        state = None
        for x in steps:
            y, state = attention(x, state)
        assert len(state) == window - 1
        return y

    wanted = last(clip)
    torch.testing.assert_close(last([clip[0] + 1, *clip[1:]]), wanted)  # one step too far back
    for step in range(1, window + 1):
        changed = [x + 1 if i == step else x for i, x in enumerate(clip)]
        assert (last(changed) - wanted).abs().max() > 0, step


def test_time_is_convolved_in_three_dimensions():
    attention = EventTemporalAttention(4)
    clip = torch.randn(2, 4, 3, 5, 7)
    torch.testing.assert_close(attention._over_time(clip), attention.temporal_conv(clip))


def constant_mixture(attention: EventTemporalAttention) -> Tensor:
    """What is added to zeros where convolutions give 1 in channel 0, 2 in channel 1 and so on."""
    channels = attention.temporal_conv.out_channels
    for parameter in (*attention.temporal_conv.parameters(), *attention.motion_conv.parameters()):
        nn.init.zeros_(parameter)
    attention.temporal_conv.bias.data = torch.arange(1.0, channels + 1)
    x = torch.zeros(2, channels, 3, 3)
    return 2 * attention(x)[0]  # motion is a half everywhere


def test_weights_of_channels_are_squeeze_and_excitation_of_the_mixture():
    attention = EventTemporalAttention(4)
    levels = torch.arange(1.0, 5)
    hidden = F.silu(attention.fc1.weight @ levels + attention.fc1.bias)
    gates = (attention.fc2.weight @ hidden + attention.fc2.bias).sigmoid()
    assert (attention.fc1.in_features, attention.fc2.out_features) == (4, 4)
    expected = (gates * levels)[None, :, None, None].expand(2, 4, 3, 3)
    torch.testing.assert_close(constant_mixture(attention), expected)


def test_weights_of_steps_have_the_sum_1():
    attention = EventTemporalAttention(4, weights="steps")
    expected = torch.arange(1.0, 5)[None, :, None, None].expand(2, 4, 3, 3)
    torch.testing.assert_close(constant_mixture(attention), expected)


def test_a_channel_that_is_weighed_0_adds_no_motion_and_others_do():
    attention, x = EventTemporalAttention(4), torch.randn(2, 4, 5, 5)
    nn.init.zeros_(attention.fc2.weight)
    attention.fc2.bias.data = torch.tensor([-1e4, 0.0, 1e4, 1e4])
    added = attention(x)[0] - x
    assert not added[:, 0].any()
    assert all(added[:, channel].abs().max() > 0 for channel in (1, 2, 3))


def test_a_state_of_another_model_or_size_is_refused():
    attention, x = EventTemporalAttention(4), torch.randn(2, 4, 6, 6)
    _, state = attention(x)
    with pytest.raises(ValueError, match=r"needs 2 of \(2, 4, 6, 4\)\. Start the streams anew"):
        attention(x[..., :4], state)
    with pytest.raises(ValueError, match="holds 1 earlier features"):
        attention(x, state[:1])
    with pytest.raises(ValueError, match="temporal_window=1"):
        EventTemporalAttention(4, 1)
    with pytest.raises(ValueError, match="'frames' is unknown; choose one of channels, steps"):
        EventTemporalAttention(4, weights="frames")
    with pytest.raises(ValueError, match="scales is empty"):
        MultiScaleSpatialAttention(4, ())


# Over channels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "stride", "hidden"),
    [(64, 4, 4), (64, 8, 4), (64, 16, 8), (10, 8, 1), (7, 16, 1), (1, 2, 1)],
)
def test_channel_gates_are_narrower_inside_at_small_strides(channels, stride, hidden):
    attention = ScaleAwareChannelAttention(channels, stride)
    x = torch.randn(2, channels, 5, 4)
    gates = attention.gates(x)
    assert attention.fc1.out_features == hidden
    assert gates.shape == (2, channels) and gates.min() > 0 and gates.max() < 1
    torch.testing.assert_close(attention(x), x * gates[:, :, None, None])


def waves(channels: int) -> Tensor:
    """A flat map, a wave along x, a checkerboard: of equal energy (4, C, 8, 8), and noise."""
    i = torch.arange(8)
    flat = torch.ones(8, 8)
    wave = (2**0.5 * torch.sin(2 * torch.pi * i / 8)).expand(8, 8)
    board = 1.0 - 2.0 * ((i[:, None] + i) % 2)
    blend = (flat + board) / 2**0.5
    return torch.stack([flat, blend, wave, board])[:, None].expand(4, channels, 8, 8)


@pytest.mark.parametrize("channels", [1, 16, 64])
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_at_small_strides_high_frequencies_are_favoured_from_the_start(channels, stride):
    x = waves(channels)
    torch.testing.assert_close(x.square().mean(dim=(1, 2, 3)), torch.ones(4))
    flat, blend, wave, board = ScaleAwareChannelAttention(channels, stride).gates(x)
    assert (flat < blend).all() and (blend < wave - 0.1).all()
    torch.testing.assert_close(wave, board)


def test_the_favour_is_for_a_group_of_channels():
    x = waves(64)[:1].clone()
    x[:, ::4] = waves(1)[3]  # group 0 of 4
    gates = ScaleAwareChannelAttention(64, 8).gates(x)[0]
    assert gates[::4].min() > gates.view(16, 4)[:, 1:].max() + 0.1


def test_at_larger_strides_no_frequency_is_favoured():
    torch.manual_seed(0)
    flat, _, _, board = ScaleAwareChannelAttention(64, 16).gates(waves(64))
    assert 0.25 < (flat < board).float().mean() < 0.75


# Together ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("temporal", [False, True])
def test_the_module_is_space_then_time(spatial: bool, temporal: bool):
    module, x = SmallObjectAttentionModule(6, spatial, temporal), torch.randn(2, 6, 4, 4)
    got, state = module(x)
    want = module.spatial(x) if spatial else x
    both = module.integration_conv is not None
    assert both == (spatial and temporal)
    if temporal:
        moved, window = module.temporal(want)
        assert all(torch.equal(a, b) for a, b in zip(state, window, strict=True))
        want = (want + moved) / 2 if both else moved  # integration starts as the average
    torch.testing.assert_close(got, want)
    assert (state is None) == (not temporal)


def test_integration_sees_both_results():
    module, x = SmallObjectAttentionModule(6), torch.randn(2, 6, 4, 4)
    nn.init.normal_(module.integration_conv.weight)
    space = module.spatial(x)
    joined = torch.cat([space, module.temporal(space)[0]], dim=1)
    torch.testing.assert_close(module(x)[0], module.integration_conv(joined))
