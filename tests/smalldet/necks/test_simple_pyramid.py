"""The pyramid: published numbers and names, declared shapes, recomputation."""

from __future__ import annotations

import copy

import pytest
import torch

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


def test_parameter_count_on_vim_tiny():
    backbone = one_map(channels=192)
    backbone.freeze()
    neck = SimpleFeaturePyramid(backbone)
    assert sum(p.numel() for p in neck.parameters() if p.requires_grad) == 2_664_880


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


def test_odd_grids_round_as_published():
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
