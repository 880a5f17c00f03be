"""The simple pyramid, and on it what every neck promises of state, loading, freezing, padding."""

from __future__ import annotations

import copy

import pytest
import torch

from smalldet.necks.base import Neck
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid
from toy_detection import PatchBackbone, golden, gradients, one_map, relative_error, state_of


def test_levels_equal_the_published_ones():
    arrays = golden("vim/sfp_LN.npz")
    neck = SimpleFeaturePyramid(one_map(channels=32), out_channels=16)
    backbone = {f"bottom_up.{k}": v for k, v in neck.bottom_up.state_dict().items()}
    neck.load_state_dict({**state_of(arrays, "sd."), **backbone})
    levels, _ = neck.fuse({"last_feat": arrays["x"]})
    assert list(levels) == ["p2", "p3", "p4", "p5", "p6"]
    for name, level in levels.items():
        assert relative_error(level, arrays[name]) < 1e-5


@pytest.mark.parametrize("channels", [12, 32])
@pytest.mark.parametrize("stride", [8, 16])
def test_declared_shapes_are_the_produced_ones(channels: int, stride: int):
    neck = SimpleFeaturePyramid(one_map(channels, stride), out_channels=8)
    levels = neck(torch.randn(2, 3, 8 * stride, 4 * stride))
    declared = neck.output_shape()
    assert list(levels) == list(declared)
    assert declared[next(iter(declared))].stride == stride // 4
    for name, level in levels.items():
        spec = declared[name]
        size = (8 * stride // spec.stride, 4 * stride // spec.stride)
        assert level.shape == (2, spec.channels, *size)


def test_odd_grids_round_and_parameters_count_as_published():
    on_vim_tiny = SimpleFeaturePyramid(one_map(channels=192))
    own = [p for name, p in on_vim_tiny.named_parameters() if "bottom_up" not in name]
    assert sum(p.numel() for p in own) == 2_664_880
    levels = SimpleFeaturePyramid(one_map(), out_channels=8)(torch.randn(1, 3, 80, 112))
    sizes = {name: tuple(level.shape[-2:]) for name, level in levels.items()}
    assert sizes["p4"] == (5, 7) and sizes["p5"] == (2, 3) and sizes["p6"] == (1, 2)


def test_recomputation_changes_no_number():
    kept = SimpleFeaturePyramid(one_map(), out_channels=8)
    recomputed = copy.deepcopy(kept)
    recomputed.checkpoint = True
    images = torch.randn(2, 3, 32, 48)
    losses = [
        sum(level.square().mean() for level in neck(images).values()) for neck in (kept, recomputed)
    ]
    assert torch.equal(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    for name, grad in gradients(kept).items():
        assert torch.equal(grad, gradients(recomputed)[name]), name


def test_wrong_settings_are_sentences():
    with pytest.raises(ValueError, match=r"declares last_feat\. Name one of these"):
        SimpleFeaturePyramid(one_map(), in_feature="res4")
    with pytest.raises(ValueError, match="stride 12 scaled by 4 has stride 3"):
        SimpleFeaturePyramid(PatchBackbone({"last_feat": (8, 12)}))
    with pytest.raises(ValueError, match=r"knows 4, 2, 1 and 0\.5"):
        SimpleFeaturePyramid(one_map(), scale_factors=(8, 4))


class Accumulator(Neck):
    """Sums its input over time."""

    needs_every_step = True

    def fuse(self, features, state=None):
        total = features["last_feat"] if state is None else features["last_feat"] + state
        return {"last_feat": total}, total

    def output_shape(self):
        return self.bottom_up.output_shape()


def test_a_stateless_neck_returns_the_state_as_it_came():
    neck = SimpleFeaturePyramid(one_map(), out_channels=8)
    images = torch.randn(1, 3, 32, 32)
    stepped, state = neck.step(images, None)
    assert state is None
    assert neck.needs_every_step is False
    for name, expected in neck(images).items():
        assert torch.equal(stepped[name], expected)


def test_a_neck_with_memory_keeps_its_state_beside_that_of_the_backbone():
    neck = Accumulator(one_map())
    images = torch.randn(1, 3, 32, 32)
    first, state = neck.step(images)
    second, state = neck.step(images, state)
    assert torch.allclose(second["last_feat"], 2 * first["last_feat"])
    assert state[0] is None and torch.equal(state[1], second["last_feat"])


def test_loading_reaches_the_backbone_once_and_freezing_it_alone():
    neck = SimpleFeaturePyramid(one_map(), out_channels=8)
    assert neck.size_divisibility == 16  # padding is what the backbone asks for
    assert neck.padding_constraints == {"size_divisibility": 16}
    for module in neck.modules():
        if hasattr(module, "load_pretrained"):
            module.load_pretrained()
    assert neck.bottom_up.loads == 1
    neck.bottom_up.freeze()
    neck.train()
    assert neck.training and not neck.bottom_up.training
    sum(level.sum() for level in neck(torch.randn(1, 3, 32, 32)).values()).backward()
    assert all(p.grad is None for p in neck.bottom_up.parameters())
    assert all(p.grad is not None for p in neck.simfp_2.parameters())
