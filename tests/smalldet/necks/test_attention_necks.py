"""The pyramid with small-object attention and without: levels, memory of each stream, gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from smalldet.layers.recurrent_state import detach_state, join_streams, reset_state, take_streams
from smalldet.necks.attention import TEMPORAL_WEIGHTS
from smalldet.necks.pafpn import PAFPN
from toy_detection import PatchBackbone, gradients

STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}
LEVELS = {"stage1": (4, 4), "stage2": (6, 8), "stage3": (32, 16), "stage4": (48, 32)}


def pafpn(stages: tuple[int, ...] = (2, 3, 4), **options: bool | str) -> PAFPN:
    torch.manual_seed(0)
    options = {"enable_small_object_attention": True, **options}
    return PAFPN(PatchBackbone(LEVELS), stages, depth=0.33, **options)


def features(neck: PAFPN, batch: int = 3, side: int = 8) -> dict[str, Tensor]:
    sides = itertools.accumulate(itertools.repeat(2), lambda x, _: -(-x // 2), initial=side)
    shapes = zip(neck.output_shape().items(), sides, strict=False)
    return {name: torch.randn(batch, spec.channels, s, s) for (name, spec), s in shapes}


def streams(x: dict[str, Tensor], index: list[int]) -> dict[str, Tensor]:
    return {name: level[index] for name, level in x.items()}


def assert_same(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    for name, level in want.items():
        torch.testing.assert_close(got[name], level, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stages", [(2, 3, 4), (1, 2, 3, 4), (3, 4)])
def test_the_two_finest_levels_are_attended_and_all_are_gated(stages: tuple[int, ...]):
    neck = pafpn(stages)
    plain = pafpn(stages, enable_small_object_attention=False)
    strides = [spec.stride for spec in neck.output_shape().values()]
    hidden = [gate.fc1.out_features for gate in neck.channel_attention]
    reductions = [16 if stride <= 8 else 8 for stride in strides]
    channels = [spec.channels for spec in neck.output_shape().values()]
    assert hidden == [max(1, c // r) for c, r in zip(channels, reductions, strict=True)]
    x = features(neck)
    neck.eval(), plain.eval()
    with torch.no_grad():
        got, want = neck.fuse(x)[0], plain.fuse(x)[0]  # equal weights, by the seed
        for index, name in enumerate(want):
            level = want[name]
            if index < 2:
                level, _ = neck.small_object_attention[index](level)
            torch.testing.assert_close(got[name], neck.channel_attention[index](level))
    assert len(neck.small_object_attention) == 2


def test_off_is_the_plain_pyramid_bit_for_bit():
    torch.manual_seed(0)
    plain = PAFPN(PatchBackbone(LEVELS), depth=0.33)
    off = pafpn(enable_small_object_attention=False)
    on = pafpn()
    assert list(plain.state_dict()) == list(off.state_dict())
    x = features(plain)
    for name, level in plain.fuse(x)[0].items():
        assert torch.equal(off.fuse(x)[0][name], level)
    for name, value in plain.state_dict().items():  # the same seed, the same start with attention
        assert torch.equal(on.state_dict()[name], value) or "running" in name or "num_b" in name


@torch.no_grad()
def test_each_stream_is_as_if_alone():
    neck = pafpn().eval()
    clip = [features(neck) for _ in range(4)]
    state, alone = None, [None, None, None]
    for t, x in enumerate(clip):
        levels, state = neck.fuse(x, state)
        assert all(part.shape[0] == 3 for window in state for part in window)
        for i in range(3):
            own, alone[i] = neck.fuse(streams(x, [i]), alone[i])
            assert_same(own, streams(levels, [i]))
        if t == 1:  # streams change places, as between batches
            clip[2:] = [streams(x, [2, 0, 1]) for x in clip[2:]]
            state, alone = take_streams(state, [2, 0, 1]), [alone[2], alone[0], alone[1]]
    joined = join_streams([alone[0], None, alone[2]])
    levels, _ = neck.fuse(clip[0], joined)
    assert_same(streams(levels, [1]), neck.fuse(streams(clip[0], [1]))[0])


@torch.no_grad()
def test_a_reset_by_mask_starts_these_streams_anew():
    neck = pafpn().eval()
    _, state = neck.fuse(features(neck))
    x = features(neck)
    kept, _ = neck.fuse(x, state)
    levels, _ = neck.fuse(x, reset_state(state, torch.tensor([False, True, False])))
    fresh, _ = neck.fuse(x)
    assert_same(streams(levels, [0, 2]), streams(kept, [0, 2]))
    assert_same(streams(levels, [1]), streams(fresh, [1]))
    assert any((kept[name] - fresh[name]).abs().max() > 1e-3 for name in kept)
    zeros, _ = neck.fuse(x, reset_state(state, torch.ones(3)))
    assert_same(zeros, fresh)


def test_gradients_go_back_in_time_until_detached():
    neck = pafpn()
    first, second = features(neck), features(neck)
    for x in first.values():
        x.requires_grad_()
    _, state = neck.fuse(first)
    sum(level.sum() for level in neck.fuse(second, state)[0].values()).backward()
    assert first["stage2"].grad.abs().max() > 0
    assert not any(x.requires_grad for window in detach_state(state) for x in window)
    with pytest.raises(ValueError, match="has 1 entries; this one needs one for each of its 2"):
        neck.fuse(second, state[:1])


@pytest.mark.parametrize("stages", [(2, 3, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("temporal", [False, True])
@pytest.mark.parametrize("weights", TEMPORAL_WEIGHTS)
def test_the_gradient_reaches_every_parameter(stages, spatial: bool, temporal: bool, weights: str):
    options = {"attention_spatial": spatial, "attention_temporal": temporal}
    neck = pafpn(stages, temporal_weights=weights, **options)
    images = torch.randn(2, 3, 3, 64, 64)
    state, loss = None, torch.zeros(())
    for x in images:
        levels, state = neck.step(x, state)
        loss = loss + sum((level.square()).mean() for level in levels.values())
    loss.backward()
    assert neck.needs_every_step is temporal and (state is None) == (not temporal)
    buffers = {name.split(".")[-1] for name, _ in neck.named_buffers()}
    assert buffers == STATISTICS  # no memory among them
    dead = [n for n, g in gradients(neck).items() if g is None or not g.abs().max() > 0]
    unused = {f"bottom_up.convs.stage{n}." for n in {1, 2, 3, 4} - set(stages)}
    assert [name for name in dead if not name.startswith(tuple(unused))] == []


def test_sizes_may_be_odd_and_types_low():
    neck = pafpn((1, 2, 3, 4))
    with torch.autocast("cpu", torch.bfloat16):
        levels, state = neck.fuse(features(neck, batch=2, side=13))
        levels, state = neck.fuse(features(neck, batch=2, side=13), state)
    assert [level.shape[-1] for level in levels.values()] == [13, 7, 4, 2]
    assert all(level.isfinite().all() for level in levels.values())
    in_float, _ = neck.fuse(features(neck, batch=2, side=13), state)  # a state of another type
    assert all(level.dtype == torch.float32 for level in in_float.values())
