"""A step of the OFAT baseline against Detectron2's own.

Both have the same weights and the same batch. Pooler, proposal head, box heads, convolutions and
trainer are those of Detectron2 in the one; what it does not have is the same in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import torch
from detectron2.config import instantiate
from detectron2.engine import SimpleTrainer, TrainerBase
from detectron2.layers import Conv2d
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator.rpn import StandardRPNHead
from detectron2.modeling.roi_heads import FastRCNNConvFCHead
from torch import nn

from benchmarks.measure import Candidate, Row, compare
from benchmarks.ofat import BASELINE, Built, build, picture
from smalldet.engine.build import build_model
from smalldet.engine.trainer import Trainer
from smalldet.layers.norms import ChannelLayerNorm

Step = Callable[[], dict[str, float]]
TOY = "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
TOY_SPEED, FULL_SPEED = 1.35, 1.2  # times Detectron2's
TOLERANCE = 1e-5  # of each loss
ROUNDING = 1e-7  # of losses of 0.002, which are differences of coordinates of up to 640 pixels


def rows() -> Iterator[Row]:
    """Step by step (one micro-batch, forward, backward, AdamW, logs), as losses agree."""
    for name, config, speed, rounds in (
        ("OFAT step, 160 px, toy size", TOY, TOY_SPEED, 9),
        ("OFAT step, 640 px, 2 images", BASELINE, FULL_SPEED, 3),
    ):
        reference, candidate = calls(config)
        compare_losses(reference(), candidate())
        yield from compare(reference, {name: Candidate(candidate, speed)}, rounds)


def compare_losses(theirs: dict[str, float], ours: dict[str, float]) -> None:
    """Fails where they differ by more than rounding."""
    assert theirs.keys() == ours.keys()
    for key, loss in theirs.items():
        assert math.isclose(ours[key], loss, rel_tol=TOLERANCE, abs_tol=ROUNDING), key


def calls(config: str) -> tuple[Step, Step]:
    """Detectron2's step and ours, which give the losses by name; the weights stay as they are."""
    ours = build(config, "train.device=cpu")
    stock = build_stock(ours)
    size = ours.cfg["dataloader"]["image_size"]
    batch = [picture(size, seed) for seed in range(ours.settings.micro_batch_size)]
    reference = SimpleTrainer(stock, Repeated(batch), optimizer_of(stock))
    candidate = Trainer(ours.model, Repeated([batch]), optimizer_of(ours.model), dump_folder=None)
    return step_of(reference), step_of(candidate)


class Repeated:
    """A loader that gives one batch for ever."""

    def __init__(self, batch: list[Any]) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[list[Any]]:
        return repeat(self.batch)

    def seek(self, samples: int) -> None:
        """Every place is the same."""


def build_stock(ours: Built) -> nn.Module:
    """The model of the same config and weights in Detectron2's classes, as far as it has them.

    Detectron2 0.5 has no pyramid for plain backbones and no layer norm over channels: those are
    ours, the convolutions of the pyramid Detectron2's.
    """
    model: Any = build_model(ours.cfg, ours.settings)
    for level in model.backbone.children():
        if isinstance(level, nn.Sequential):
            channels = level[-1].out_channels
            how = {"kernel_size": 3, "padding": 1, "bias": False, "norm": level[-1].norm}
            level[-1] = Conv2d(channels, channels, **how)
    cfg = ours.cfg["model"]
    head = cfg["proposal_generator"]["head"]
    model.proposal_generator.rpn_head = instantiate({**head, "_target_": StandardRPNHead})
    pooler = cfg["roi_heads"]["box_pooler"]
    model.roi_heads.box_pooler = instantiate({**pooler, "_target_": ROIPooler})
    for stage, head in enumerate(cfg["roi_heads"]["box_heads"]):
        parts = {name: value for name, value in head.items() if name != "checkpoint"}
        parts.update(_target_=FastRCNNConvFCHead, conv_norm=ChannelLayerNorm)
        model.roi_heads.box_head[stage] = instantiate(parts)
    model.load_state_dict(ours.model.state_dict())
    return model


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """All that AdamW does, at a learning rate that moves nothing: each step is the first."""
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0)


def step_of(trainer: TrainerBase) -> Step:
    def call() -> dict[str, float]:
        torch.manual_seed(0)  # of the sampling of anchors and proposals
        trainer.train(0, 1)
        latest = trainer.storage.latest()
        return {key: value for key, (value, _) in latest.items() if "loss" in key}

    return call
