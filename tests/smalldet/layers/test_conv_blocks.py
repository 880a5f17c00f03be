"""Convolution blocks against their formulas and published names."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smalldet.layers.conv_blocks import (
    ACTIVATIONS,
    ConvBlock,
    CSPLayer,
    DepthwiseConvBlock,
    build_activation,
    spatial_block,
)


def perturbed(module: nn.Module) -> nn.Module:
    """The module in eval mode, with norms that do something."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for x in (norm.weight, norm.bias, norm.running_mean):
                nn.init.normal_(x)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return module.eval()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_block_is_its_formula(activation: str):
    block = perturbed(ConvBlock(4, 6, 3, stride=2, activation=activation))
    x = torch.randn(2, 4, 7, 8)
    y = F.conv2d(x, block.conv.weight, stride=2, padding=1)
    mean, var = (v[:, None, None] for v in (block.bn.running_mean, block.bn.running_var))
    y = (y - mean) / (var + 1e-5).sqrt() * block.bn.weight[:, None, None]
    y = y + block.bn.bias[:, None, None]
    want = {"silu": y * y.sigmoid(), "relu": y.clamp(min=0), "lrelu": torch.where(y > 0, y, y / 10)}
    assert (block.bn.eps, block.bn.momentum) == (1e-5, 0.1)  # as published
    assert {name for name, _ in block.named_parameters()} == {"conv.weight", "bn.weight", "bn.bias"}
    got = block(x)
    assert got.shape == (2, 6, 4, 4)
    torch.testing.assert_close(got, want[activation])


def assert_folding_is_right(block: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        folded = block(x)
    assert not folded.requires_grad
    torch.testing.assert_close(folded, block(x).detach(), rtol=1e-4, atol=1e-5)


def change_by_optimizer(block: ConvBlock) -> None:
    block(torch.ones(1, 4, 5, 5)).sum().backward()
    torch.optim.SGD(block.parameters(), lr=0.5).step()


def other_state() -> dict[str, torch.Tensor]:
    return perturbed(ConvBlock(4, 6, 3)).state_dict()


CHANGES = {
    "a step": change_by_optimizer,
    "other data": lambda block: setattr(block.conv.weight, "data", torch.randn(6, 4, 3, 3)),
    "loaded": lambda block: block.load_state_dict(other_state()),
    "assigned": lambda block: block.load_state_dict(other_state(), assign=True),
    "statistics": lambda block: block.bn.running_var.mul_(3),
    "training": lambda block: block.train()(torch.randn(2, 4, 5, 5)) is block.eval(),
    "other type": lambda block: block.double().float(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_without_gradients_the_norm_is_folded_and_follows_every_change(change: str):
    torch.manual_seed(0)
    block, x = perturbed(ConvBlock(4, 6, 3)), torch.randn(2, 4, 5, 5)
    names = list(block.state_dict())
    for _ in range(2):
        assert_folding_is_right(block, x)
        CHANGES[change](block)
    assert_folding_is_right(block, x)
    assert_folding_is_right(copy.deepcopy(block), x)
    assert list(block.state_dict()) == names


def test_what_is_folded_is_kept():
    block, x = perturbed(ConvBlock(4, 6, 3)), torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        block(x)
        first = block._folded._value
        block(x)
    assert first is not None and block._folded._value is first
    block.train()
    assert block._folded._value is None


def test_depthwise_channels_do_not_see_one_another_before_the_1x1():
    block = perturbed(DepthwiseConvBlock(4, 6, 3, stride=2))
    x = torch.randn(1, 4, 8, 8)
    changed = x.clone()
    changed[:, 2] += 1
    moved = (block.dconv(changed) - block.dconv(x)).abs().amax(dim=(0, 2, 3)) > 0
    assert moved.tolist() == [False, False, True, False]
    assert block(x).shape == (1, 6, 4, 4)
    assert_folding_is_right(block, x)
    assert {name.split(".")[0] for name in block.state_dict()} == {"dconv", "pconv"}
    assert spatial_block(True) is DepthwiseConvBlock and spatial_block(False) is ConvBlock


@pytest.mark.parametrize("num_blocks", [0, 1, 3])
@pytest.mark.parametrize("depthwise", [False, True])
def test_a_csp_layer_joins_its_halves(num_blocks: int, depthwise: bool):
    layer = perturbed(CSPLayer(6, 9, num_blocks, depthwise))  # an odd width halves to 4
    x = torch.randn(2, 6, 5, 4)
    deep = layer.conv1(x)
    for block in layer.m:
        deep = block.conv2(block.conv1(deep))
    torch.testing.assert_close(layer(x), layer.conv3(torch.cat([deep, layer.conv2(x)], 1)))
    assert len(layer.m) == num_blocks
    spatial = [m for m in layer.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(spatial) == num_blocks
    assert all(conv.groups == (4 if depthwise else 1) for conv in spatial)


def test_wrong_settings_are_sentences():
    with pytest.raises(ValueError, match="choose one of silu, relu, lrelu"):
        build_activation("swish")
    with pytest.raises(ValueError, match="splits its 1 output channels"):
        CSPLayer(4, 1, 1)
