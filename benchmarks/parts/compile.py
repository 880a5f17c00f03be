"""train.compile: a training step with and without, at sizes whose compilation takes seconds.

Cascade R-CNN is that of the debug OFAT baseline. At full size compilation alone takes minutes on
two cores, so that is left out. Inference is not compiled: its kernels are faster already.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from detectron2.config import instantiate
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from benchmarks.parts.measure import Call, Candidate, Row, compare
from benchmarks.parts.rvt_training import STEPS, STREAMS, samples_of
from benchmarks.published.pair import counts, rvt_pair
from labbook.config.load import load_config, to_plain
from smalldet.engine.build import build_model
from smalldet.engine.compile import compile_parts

BASELINE = "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
IMAGES, OBJECTS, OBJECT_PX = 2, 10, 16
SPEED = 0.0  # only reported
ROUNDS = 5


def rows() -> Iterator[Row]:
    """Only reported: whether it wins depends on model, size and machine."""
    for name, step in (("RVT tiny", rvt_step), ("toy Cascade R-CNN", cascade_step)):
        plain, compiled = step(False), step(True)
        torch.testing.assert_close(compiled(), plain(), rtol=1e-3, atol=1e-3)
        row = {f"{name}, a step, train.compile": Candidate(compiled, SPEED)}
        yield from compare(plain, row, ROUNDS)


def rvt_step(compiled: bool) -> Call:
    """Forward and backward pass of 2 streams of 5 steps."""
    detector = rvt_pair("tiny")[0]
    for norm in detector.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 0.1  # as the models have it; rvt_pair has averaged
    return step_of(detector, samples_of(counts(STEPS, STREAMS)), compiled)


def cascade_step(compiled: bool) -> Call:
    """Forward and backward pass of a micro-batch of the toy baseline."""
    root = Path(__file__).resolve().parents[2]
    cfg = to_plain(load_config(root / BASELINE, []))
    model = build_model(cfg, instantiate(cfg["train"]))
    size = cfg["dataloader"]["image_size"]
    return step_of(model, [picture(size, seed) for seed in range(IMAGES)], compiled)


def step_of(model: nn.Module, batch: list[dict[str, Any]], compiled: bool) -> Call:
    model.train()
    if compiled:
        compile_parts(model)

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
