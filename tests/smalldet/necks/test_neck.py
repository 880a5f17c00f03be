"""The contract of a neck: state, loading, freezing and padding flow as they should."""

from __future__ import annotations

import torch

from smalldet.necks.base import Neck
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid
from toy_detection import one_map


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


def test_loading_by_module_walk_reaches_the_backbone_once():
    neck = SimpleFeaturePyramid(one_map(), out_channels=8)
    for module in neck.modules():
        if hasattr(module, "load_pretrained"):
            module.load_pretrained()
    assert neck.bottom_up.loads == 1


def test_padding_is_what_the_backbone_asks_for():
    neck = SimpleFeaturePyramid(one_map(stride=8))
    assert neck.size_divisibility == 8
    assert neck.padding_constraints == {"size_divisibility": 8}


def test_a_frozen_backbone_stays_in_eval_mode_under_a_trained_neck():
    neck = SimpleFeaturePyramid(one_map(), out_channels=8)
    neck.bottom_up.freeze()
    neck.train()
    assert neck.training and not neck.bottom_up.training
    sum(level.sum() for level in neck(torch.randn(1, 3, 32, 32)).values()).backward()
    assert all(p.grad is None for p in neck.bottom_up.parameters())
    assert all(p.grad is not None for p in neck.simfp_2.parameters())
