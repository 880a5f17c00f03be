"""Models as their configs build them, and a batch of noise to train them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from benchmarks.measure import Call
from labbook.config.load import load_config, to_plain
from smalldet.engine.build import build_model
from smalldet.engine.settings import TrainSettings, read_settings

ROOT = Path(__file__).resolve().parents[1]
BASELINE = "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
SIZE = 640  # px, of its images
OBJECTS, OBJECT_PX = 10, 16


class Built(NamedTuple):
    """A config, its ``train`` section, its model."""

    cfg: dict[str, Any]
    settings: TrainSettings
    model: Any


def build(config: str, *overrides: str) -> Built:
    """The model of a config file of this project."""
    cfg = to_plain(load_config(ROOT / config, list(overrides)))
    settings = read_settings(cfg["train"])
    return Built(cfg, settings, build_model(cfg, settings))


def step_of(model: nn.Module, batch: list[dict[str, Any]]) -> Call:
    """Forward and backward pass, without the optimizer."""
    model.train()

    def call() -> torch.Tensor:
        torch.manual_seed(0)  # of the sampling of anchors and proposals
        model.zero_grad()
        with EventStorage():
            total = torch.stack(list(model(batch).values())).sum()
        total.backward()
        return total.detach()

    return call


def picture(size: int, seed: int) -> dict[str, Any]:
    """A Detectron2 input: noise of ``size`` px a side with squares of class 0."""
    generator = torch.Generator().manual_seed(seed)
    corners = (size - OBJECT_PX) * torch.rand(OBJECTS, 2, generator=generator)
    instances = Instances((size, size))
    instances.gt_boxes = Boxes(torch.cat([corners, corners + OBJECT_PX], dim=1))
    instances.gt_classes = torch.zeros(OBJECTS, dtype=torch.long)
    image = torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=generator)
    return {"image": image, "instances": instances, "height": size, "width": size}
