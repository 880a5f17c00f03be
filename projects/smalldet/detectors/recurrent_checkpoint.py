"""Published RVT detectors as the start of ours, also of ours with more levels or attention."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from smalldet.backbones.rvt.checkpoint import DETECTOR_NAMES, load_rvt_checkpoint
from smalldet.backbones.weight_files import LoadReport
from smalldet.necks.pafpn import PartNames

PUBLISHED_LEVELS = 3  # the coarsest ones; levels of the head are counted from the finest
NEW = (  # parts that no published model has
    "backbone.small_object_attention.",
    "backbone.channel_attention.",
    "head.abc_preds.",
    "head.loss_terms.",
)


def load_published_detector(model: nn.Module, path: str | Path) -> LoadReport | None:
    """Load a published checkpoint into a RecurrentDetector of MaxViTRNN, PAFPN and YOLOX.

    Of a model with finer levels than the three published ones, those keep their random weights, as
    do small-object attention and a balanced classifier.

    Raises:
        FileNotFoundError, CheckpointError: see ``load_rvt_checkpoint``.
    """
    names: dict[str, str] = dict(DETECTOR_NAMES)
    new: list[str] = list(NEW)
    head = model.get_submodule("head")
    per_level = {name: x for name, x in head.named_children() if isinstance(x, nn.ModuleList)}
    for name, modules in per_level.items():
        finer = len(modules) - PUBLISHED_LEVELS
        for level in range(len(modules)):
            if level < finer:
                new.append(f"head.{name}.{level}.")
            else:
                names[f"head.{name}.{level}."] = f"yolox_head.{name}.{level - finer}."
    levels = max(map(len, per_level.values()), default=0)
    for pair in range(PUBLISHED_LEVELS - 1, levels - 1):
        new += [f"backbone.{part}." for part in PartNames.of(pair)]
    return load_rvt_checkpoint(model, path, names, new)
