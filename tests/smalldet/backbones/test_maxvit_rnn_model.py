"""What the MaxViT-RNN backbone promises: sizes, state, streams, gradients, precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from smalldet.backbones.rvt.model import VARIANTS, MaxViTRNN
from smalldet.layers.partition_attention import AttentionOptions
from smalldet.layers.recurrent_state import join_streams, map_state, reset_state, take_streams

# Backbone parameters, counted in the official code.
SIZES = [
    ("tiny", {"patch_size": 4}, 3_220_032),
    ("tiny", {"patch_size": 4, "dws_conv": True}, 3_220_032 + 4_800),
    ("small", {"patch_size": 4}, 7_209_312),
    ("base", {"patch_size": 4}, 12_784_768),
    ("tiny", {"patch_size": 2}, 3_194_432),
    ("small", {"patch_size": 2}, 7_170_912),
    ("base", {"patch_size": 2}, 12_733_568),
]
LARGE_GAIN = AttentionOptions(ls_init_value=0.5)  # at the initial 1e-5 attention hardly shows


def toy(**options: Any) -> MaxViTRNN:
    torch.manual_seed(0)
    defaults = {"embed_dim": 8, "dim_head": 4, "partition_split": 1, "in_channels": 4}
    return MaxViTRNN(**{**defaults, "attention": LARGE_GAIN, **options})


def events(streams: int, steps: int = 3, height: int = 64, width: int = 96) -> Tensor:
    """Event counts (steps, streams, 4, height, width)."""
    generator = torch.Generator().manual_seed(1)
    shape = (steps, streams, 4, height, width)
    return torch.randint(0, 4, shape, generator=generator, dtype=torch.uint8)


def run(model: MaxViTRNN, xs: Tensor, state: Any = None) -> tuple[list[Tensor], Any]:
    """The last feature of each step, and the final state."""
    seen = []
    for x in xs:
        features, state = model.step(x, state)
        seen.append(features["stage4"])
    return seen, state


@pytest.mark.parametrize(("variant", "options", "parameters"), SIZES)
def test_published_sizes_have_the_published_number_of_parameters(variant, options, parameters):
    with torch.device("meta"):
        model = MaxViTRNN(**VARIANTS[variant], **options)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(("patch_size", "split"), [(2, 1), (4, 1), (4, 2), (8, 2)])
@torch.no_grad()
def test_declared_shapes_are_produced(patch_size: int, split: int):
    model = toy(patch_size=patch_size, partition_split=split)
    assert model.size_divisibility == 32 * split
    assert model.padding_constraints == {"size_divisibility": 32 * split}
    features = model(events(2, height=64, width=128)[0])
    assert list(features) == list(model.output_shape())
    for name, spec in model.output_shape().items():
        assert features[name].shape == (2, spec.channels, 64 // spec.stride, 128 // spec.stride)
    strides = [spec.stride for spec in model.output_shape().values()]
    assert strides == [patch_size * k for k in (1, 2, 4, 8)]


@pytest.mark.parametrize(
    ("split", "size", "cells"),
    [(2, (360, 640), (6, 10)), (2, (384, 640), (6, 10)), (1, (240, 304), (8, 10))],
)
def test_partition_follows_from_the_padded_input(split: int, size: Any, cells: Any):
    assert toy(partition_split=split).partition_size(size) == cells


@torch.no_grad()
def test_input_is_padded_with_zeros_at_the_bottom_and_right():
    model, x = toy(), events(1, height=60, width=70)[0]
    padded = torch.zeros(1, 4, 64, 96, dtype=torch.uint8)
    padded[..., :60, :70] = x
    for name, feature in model(x).items():
        assert torch.equal(feature, model(padded)[name])
        torch.testing.assert_close(feature, model(padded.float())[name])


@torch.no_grad()
def test_none_whole_or_in_part_is_the_zero_state():
    model, x = toy(dws_conv=True), events(2)[0]
    start = map_state(torch.zeros_like, model.step(x)[1])
    for state in (start, (None, start[1], None, start[3])):
        for name, feature in model.step(x, state)[0].items():
            assert torch.equal(feature, model(x)[name])


@torch.no_grad()
def test_each_stream_of_a_batch_is_as_if_alone():
    model, xs = toy(), events(3)
    together, state = run(model, xs)
    alone = [run(model, xs[:, i : i + 1]) for i in range(3)]
    for t, feature in enumerate(together):
        single = torch.cat([features[t] for features, _ in alone])
        torch.testing.assert_close(feature, single, atol=1e-5, rtol=1e-5)
    joined = join_streams([states for _, states in alone])
    torch.testing.assert_close(joined, state, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[1], model(xs[1])["stage4"])  # the state matters


@torch.no_grad()
def test_a_reset_stream_starts_anew_and_the_others_go_on():
    model, xs = toy(), events(2, steps=2)
    _, state = run(model, xs[:1])
    features, _ = model.step(xs[1], reset_state(state, torch.tensor([True, False])))
    going_on, _ = model.step(xs[1][1:], take_streams(state, [1]))
    fresh = model(xs[1][:1])
    for name, feature in features.items():
        wanted = torch.cat([fresh[name], going_on[name]])
        torch.testing.assert_close(feature, wanted, atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_parameter():
    model, xs = toy(enable_masking=True, dws_conv=True, num_blocks=(2, 1, 1, 1)), events(1)
    mask = torch.zeros(1, 16, 24, dtype=torch.bool)
    mask[:, :4] = True
    _, state = model.step(xs[0], None, mask)
    features, _ = model.step(xs[1], state, mask)
    sum(feature.square().sum() for feature in features.values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_activation_checkpointing_changes_no_number_and_keeps_fewer_tensors():
    xs, results, kept = events(1, steps=2), [], []
    for checkpoint in (False, True):
        model, sizes = toy(checkpoint=checkpoint), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: (sizes.append(x.numel()), x)[1], lambda x: x
        ):
            seen, (*_, (_, cell)) = run(model, xs)
        (seen[-1].square().sum() + cell.sum()).backward()
        results.append([seen[-1].detach(), *(p.grad for p in model.parameters())])
        kept.append(sum(sizes))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert kept[1] < kept[0] / 5


def test_cell_state_stays_float32_under_autocast():
    model, xs = toy(), events(1)
    exact, _ = run(model, xs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen, state = run(model, xs)
    assert [cell.dtype for _, cell in state] == [torch.float32] * 4
    assert [hidden.dtype for hidden, _ in state] == [torch.bfloat16] * 4
    torch.testing.assert_close(seen[-1].float(), exact[-1], atol=0.03, rtol=0.05)
    seen[-1].float().sum().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())
    with torch.no_grad():
        _, state = run(toy().to(torch.bfloat16), xs)
    assert [cell.dtype for _, cell in state] == [torch.float32] * 4


def test_frozen_backbone_steps_without_a_graph():
    model = toy(frozen=True)
    model.train()
    features, state = model.step(events(1)[0])
    assert not model.training
    assert not features["stage4"].requires_grad and not state[0][1].requires_grad


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dim_head": 3}, "dim_head must divide"),
        ({"patch_size": 3}, "patch sizes"),
        ({"partition_split": 3}, "splits"),
        ({"patch_size": 8, "partition_split": 1}, "set partition_split=2 or 4"),
        ({"num_blocks": (1, 1, 1)}, "num_blocks"),
        ({"dim_multiplier": (1, 2, 4, 0)}, "dim_multiplier"),
        ({"attention": AttentionOptions(mlp_activation="swish")}, "mlp_activation='swish'"),
        ({"attention": AttentionOptions(mlp_gated=True)}, "no hidden channel"),
        ({"dws_conv": True, "dws_conv_kernel_size": 4}, "choose an odd one"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        toy(**options)


@torch.no_grad()
def test_input_state_and_mask_that_do_not_fit_are_refused():
    model, x = toy(), events(2)[0]
    state = model.step(x)[1]
    square = torch.ones(2, 8, 8, dtype=torch.bool)
    for toy_model, given, sentence in [
        (model, (x[:, :3],), "set in_channels"),
        (model, (x, state[:3]), "has 3 entries"),
        (model, (x[:1], state), "number of streams"),
        (model, (x, None, square), "enable_masking=True"),
        (toy(enable_masking=True), (x, None, square), "cells of the first stage"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            toy_model.step(*given)
