"""Checkpoints with the names and shapes of those that RVT's authors publish, and random values.

Written from the publication's description alone; nothing of our models is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
SIZES = {"tiny": (32, 1), "small": (48, 1), "base": (64, 2)}  # channels, bottlenecks of the neck


def published_shapes(size: str, classes: int) -> Shapes:
    """Every tensor of a published state dict, without the prefix ``mdl.``."""
    embed, bottlenecks = SIZES[size]
    channels = [embed, 2 * embed, 4 * embed, 8 * embed]
    parts = {
        "backbone.": _backbone(channels),
        "fpn.": _neck(channels[1:], bottlenecks),
        "yolox_head.": _head(channels[1:], classes),
    }
    return {prefix + name: shape for prefix, part in parts.items() for name, shape in part}


def write_checkpoint(path: Path, shapes: Shapes, seed: int = 0) -> Path:
    """A Lightning checkpoint with such weights and what lies beside them."""
    generator = torch.Generator().manual_seed(seed)
    state = {f"mdl.{name}": _values(name, shape, generator) for name, shape in shapes.items()}
    content = {
        "epoch": 7,
        "global_step": 400_000,
        "pytorch-lightning_version": "1.8.6",
        "state_dict": state,
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 2e-8, "params": [0]}]}],
        "lr_schedulers": [{"total_steps": 400_000, "last_epoch": 400_000}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def _values(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    if name.endswith("running_var"):
        return torch.rand(shape, generator=generator) + 0.5
    return 0.1 * torch.randn(shape, generator=generator)


def _backbone(channels: list[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for stage, (width, before) in enumerate(zip(channels, [20, *channels], strict=False)):
        own, kernel = f"stages.{stage}", 3 if stage else 7
        yield f"{own}.downsample_cf2cl.conv.weight", (width, before, kernel, kernel)
        yield from _affine(f"{own}.downsample_cf2cl.norm", width)
        for kind in ("att_window", "att_grid"):
            block = f"{own}.att_blocks.0.{kind}"
            for norm in ("norm1", "norm2") if kind == "att_grid" else ("norm2",):
                yield from _affine(f"{block}.{norm}", width)
            yield from _linear(f"{block}.self_attn.qkv", 3 * width, width)
            yield from _linear(f"{block}.self_attn.proj", width, width)
            yield from ((f"{block}.{scale}.gamma", (width,)) for scale in ("ls1", "ls2"))
            yield from _linear(f"{block}.mlp.net.0.0", 4 * width, width)
            yield from _linear(f"{block}.mlp.net.2", width, 4 * width)
        yield from _linear(f"{own}.lstm.conv1x1", 4 * width, 2 * width, 1, 1)


def _neck(channels: list[int], bottlenecks: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    fine, middle, coarse = channels
    yield from _conv("lateral_conv0", middle, coarse, 1)
    yield from _csp("C3_p4", 2 * middle, middle, bottlenecks)
    yield from _conv("reduce_conv1", fine, middle, 1)
    yield from _csp("C3_p3", 2 * fine, fine, bottlenecks)
    yield from _conv("bu_conv2", fine, fine, 3)
    yield from _csp("C3_n3", 2 * fine, middle, bottlenecks)
    yield from _conv("bu_conv1", middle, middle, 3)
    yield from _csp("C3_n4", 2 * middle, coarse, bottlenecks)


def _head(channels: list[int], classes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    width = channels[-1] // 4
    for level, incoming in enumerate(channels):
        yield from _conv(f"stems.{level}", width, incoming, 1)
        for branch in ("cls_convs", "reg_convs"):
            for number in range(2):
                yield from _conv(f"{branch}.{level}.{number}", width, width, 3)
        for kind, outputs in (("cls", classes), ("reg", 4), ("obj", 1)):
            yield from _linear(f"{kind}_preds.{level}", outputs, width, 1, 1)


def _csp(name: str, into: int, out: int, bottlenecks: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    half = out // 2
    yield from _conv(f"{name}.conv1", half, into, 1)
    yield from _conv(f"{name}.conv2", half, into, 1)
    yield from _conv(f"{name}.conv3", out, out, 1)
    for number in range(bottlenecks):
        yield from _conv(f"{name}.m.{number}.conv1", half, half, 1)
        yield from _conv(f"{name}.m.{number}.conv2", half, half, 3)


def _conv(name: str, out: int, into: int, kernel: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.conv.weight", (out, into, kernel, kernel)
    yield from _affine(f"{name}.bn", out)
    yield from ((f"{name}.bn.{part}", (out,)) for part in ("running_mean", "running_var"))
    yield f"{name}.bn.num_batches_tracked", ()


def _linear(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _affine(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
