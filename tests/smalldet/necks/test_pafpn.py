"""The path aggregation pyramid: published numbers and names, any number of levels, odd sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from smalldet.backbones.rvt.model import VARIANTS, MaxViTRNN
from smalldet.necks.pafpn import PAFPN
from toy_detection import PatchBackbone, gradients, relative_error, rvt_golden, state_of

TOLERANCE = 1e-4
NAMES = ("pafpn_d033", "pafpn_d067", "pafpn_depthwise", "pafpn_stages123_d1")


def backbone(channels: tuple[int, ...] = (6, 8, 12, 16), stride: int = 4) -> PatchBackbone:
    """``stage1`` and on, of doubling strides."""
    return PatchBackbone(
        {f"stage{i}": (width, stride * 2 ** (i - 1)) for i, width in enumerate(channels, start=1)}
    )


def maps(neck: PAFPN, height: int, width: int, batch: int = 2) -> dict[str, Tensor]:
    """Inputs of ``fuse``, the finest of these sides and each next one half of it, rounded up."""
    features = {}
    for name, spec in neck.output_shape().items():
        features[name] = torch.randn(batch, spec.channels, height, width)
        height, width = -(-height // 2), -(-width // 2)
    return features


def neck_weights(neck: PAFPN) -> dict[str, Tensor]:
    return {k: v for k, v in neck.state_dict().items() if not k.startswith("bottom_up.")}


def official(meta: dict[str, Any], arrays: dict[str, Tensor]) -> PAFPN:
    """Our neck with the settings and weights of a file, on a backbone with a finer stage too."""
    first, widths = meta["in_stages"][0], meta["in_channels"]
    below = backbone((4,) * (first - 1) + tuple(widths))
    neck = PAFPN(below, meta["in_stages"], meta["depth"], meta["depthwise"], meta["act"])
    missing, extra = neck.load_state_dict(state_of(arrays, "sd/"), strict=False)
    assert not extra and all(name.startswith("bottom_up.") for name in missing)
    return neck


@pytest.mark.parametrize("name", NAMES)
def test_inference_equals_the_official_one(name: str):
    meta, arrays = rvt_golden(name)
    with torch.no_grad():
        levels, _ = official(meta, arrays).eval().fuse(state_of(arrays, "in/"))
    assert list(levels) == [f"stage{number}" for number in meta["in_stages"]]
    for i, level in enumerate(levels.values()):
        assert relative_error(level, arrays[f"out_eval/{i}"]) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_training_equals_the_official_one(name: str):
    """Outputs with statistics of the batch, gradients, and the statistics afterwards."""
    meta, arrays = rvt_golden(name)
    neck = official(meta, arrays).train()
    inputs = {f"stage{n}": arrays[f"in/stage{n}"].requires_grad_() for n in meta["in_stages"]}
    levels = list(neck.fuse(inputs)[0].values())
    for i, level in enumerate(levels):
        assert relative_error(level, arrays[f"out_train/{i}"]) < TOLERANCE
    sum((x * arrays[f"in/grad_weight/{i}"]).sum() for i, x in enumerate(levels)).backward()
    for stage, x in inputs.items():
        assert relative_error(x.grad, arrays[f"grad_train/{stage}"]) < 1e-3
    reached = gradients(neck)
    norms = torch.stack([reached[name].double().norm() for name in meta["grad_train/param_names"]])
    torch.testing.assert_close(norms, arrays["grad_train/param_norms"], rtol=1e-3, atol=1e-4)
    after = neck.state_dict()
    for key, value in state_of(arrays, "sd_after_train/").items():
        torch.testing.assert_close(after[key], value, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("variant", "depth", "count"),
    [("tiny", 0.33, 710_784), ("small", 0.33, 1_596_096), ("base", 0.67, 3_860_992)],
)
def test_parameter_counts_are_the_published_ones(variant: str, depth: float, count: int):
    neck = PAFPN(MaxViTRNN(**VARIANTS[variant]), depth=depth)
    own = [p for name, p in neck.named_parameters() if not name.startswith("bottom_up.")]
    assert sum(p.numel() for p in own) == count


@pytest.mark.parametrize("stages", [(1, 2), (2, 3, 4), (4, 3, 1, 2), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_declared_shapes_are_the_produced_ones(stages: tuple[int, ...], depthwise: bool):
    below = backbone((6, 8, 12, 16, 10), stride=2)
    neck = PAFPN(below, stages, depth=0.33, depthwise=depthwise)
    levels, declared = neck(torch.randn(2, 3, 32, 64)), neck.output_shape()
    assert list(levels) == list(declared) == [f"stage{n}" for n in sorted(stages)]
    for name, spec in declared.items():
        assert spec == below.output_shape()[name]
        size = (32 // spec.stride, 64 // spec.stride)
        assert levels[name].shape == (2, spec.channels, *size)
    sum(level.square().mean() for level in levels.values()).backward()
    unreached = [name for name, grad in gradients(neck).items() if grad is None]
    assert all(name.startswith("bottom_up.") for name in unreached)  # stages not chosen


def test_weights_of_three_levels_load_into_four():
    three, four = PAFPN(backbone(), (2, 3, 4)), PAFPN(backbone(), (1, 2, 3, 4))
    missing, extra = four.load_state_dict(neck_weights(three), strict=False)
    added = {name.split(".")[0] for name in missing} - {"bottom_up"}
    assert not extra and added == {"reduce_conv2", "C3_p2", "bu_conv3", "C3_n2"}


def test_every_level_sees_every_other():
    neck = PAFPN(backbone(), (1, 2, 3, 4), depth=0.33).eval()
    features = maps(neck, 16, 16)
    plain, _ = neck.fuse(features)
    for name in features:
        changed, _ = neck.fuse({**features, name: features[name] + 1})
        assert all((changed[other] - plain[other]).abs().max() > 0 for other in plain), name


@pytest.mark.parametrize("size", [(16, 24), (13, 10), (9, 5), (1, 1)])
def test_sizes_that_do_not_halve_evenly(size: tuple[int, int]):
    neck = PAFPN(backbone(), (1, 2, 3, 4), depth=0.33)
    features = maps(neck, *size)
    state = (torch.ones(2),)
    levels, returned = neck.fuse(features, state)
    assert returned is state  # of a stateless neck
    assert {n: x.shape for n, x in levels.items()} == {n: x.shape for n, x in features.items()}


def test_on_the_recurrent_backbone_the_state_is_that_of_the_backbone():
    below = MaxViTRNN(embed_dim=8, dim_head=8, in_channels=2, partition_split=1)
    neck = PAFPN(below, (1, 2, 3, 4), depth=0.33).eval()
    x = torch.randn(2, 1, 2, 32, 64)
    with torch.no_grad():
        _, state = neck.step(x[0])
        levels, _ = neck.step(x[1], state)
        alone, _ = below.step(x[1], below.step(x[0])[1])
        fused, _ = neck.fuse(alone)
    assert neck.needs_every_step is False and len(state) == 4
    assert neck.size_divisibility == 32
    for name, level in fused.items():
        assert torch.equal(level, levels[name])


def test_wrong_settings_and_levels_are_sentences():
    sentence = "two or more numbers from 1 to 4, since Patch"
    for options, match in [
        *(({"in_stages": stages}, sentence) for stages in [(2,), (0, 1), (3, 4, 5), ()]),
        ({"in_stages": (1, 3)}, r"strides \[4, 16\].*neighbouring stages"),
        ({"in_stages": (2, 2, 3)}, r"strides \[8, 8, 16\]"),
        ({"depth": 0.1}, r"depth=0\.1 leaves no bottleneck"),
        ({"activation": "gelu"}, "choose one of silu"),
    ]:
        with pytest.raises(ValueError, match=match):
            PAFPN(backbone(), **options)
    features = {"stage3": torch.randn(1, 12, 5, 4), "stage4": torch.randn(1, 16, 2, 2)}
    with pytest.raises(ValueError, match="level of 5x4 cells is followed by one of 2x2"):
        PAFPN(backbone(), (3, 4), depth=0.33).fuse(features)
