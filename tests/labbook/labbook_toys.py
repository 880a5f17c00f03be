"""Targets for the configs that these tests write."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from labbook.config.studies import find_studies

ROOT = Path(__file__).resolve().parents[2]
STUDIES = find_studies(ROOT)
"""The studies of this repository; their folders are looked for below any root."""


def declare_studies(root: Path, *names: str) -> None:
    """Make folders of configs for studies of this repository, with what those declare."""
    for name in names:
        folder = root / STUDIES[name].config_folder
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / STUDIES[name].config_folder / "study.yaml", folder)


def link_configs(root: Path) -> None:
    """The config files of this repository below ``root``, where others can be put beside them."""
    for folder in ("configs", "configs/debug"):
        (root / folder).mkdir()
        for path in (ROOT / folder).iterdir():
            if path.name not in ("debug", "__pycache__"):
                (root / folder / path.name).symlink_to(path)


CONFIG = """
import math
import labbook.config.resolvers
import torch
from detectron2.config import LazyCall as L
from labbook.config.experiment import Experiment
from labbook_toys import Box, Data, Settings, loader

_helper = dict(not_a_section=1)
experiment = L(Experiment)(name="ofat_NAME", study="ofat", level=0.01)
train = L(Settings)(
    output_dir="work_dirs/${experiment.name}", images=1271, epochs=100, batch=8,
    max_iter="${iterations:${train.epochs},${train.images},${train.batch}}",
    eval_period="${iterations_per_epoch:${train.images},${train.batch}}",
    limit=math.inf, tiny=1e-8,
)
dataset = L(Data)(root="${oc.env:NO_SUCH_VARIABLE,here}/coco", classes=("head",))
dataloader = dict(
    workers=2,
    train=L(loader)(dataset="${dataset}", batch="${train.batch}", workers="${dataloader.workers}"),
)
evaluation = dict(valid=L(loader)(dataset="${dataset}", batch=1))
optimizer = L(torch.optim.AdamW)(params="???", lr=1e-3, betas=[0.9, 0.999], weight_decay=0.1)
lr_multiplier = dict(milestones=["${fraction_of:0.7,${train.max_iter}}"], text="1e-5", on="on")
model = L(Box)(sizes=[[8], [16]], classes="${length:${dataset.classes}}", inner=None)
"""


@dataclass
class Settings:
    output_dir: str
    images: int
    epochs: int
    batch: int
    max_iter: int
    eval_period: int
    limit: float = 1.0
    tiny: float = 1.0
    device: Literal["auto", "cpu"] = "auto"
    resume_from: str | None = None
    seed: int = 0
    micro_batch_size: int = 1


@dataclass
class Data:
    root: str
    classes: tuple[str, ...] = ("head",)
    keep_negatives: bool = True
    generate: dict[str, int] | None = None
    tags: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        return (Path(self.root) / "checksum").read_text()


class Box:
    def __init__(self, sizes: list[list[int]], classes: int, inner: Box | None = None) -> None:
        self.arguments = (sizes, classes, inner)


def loader(dataset: Data, batch: int, **options: Any) -> Mapping[str, Any]:
    return {"dataset": dataset, "batch": batch, **options}
