"""From config nodes to the objects of a run."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, cast

import torch
from detectron2.config import instantiate
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from torch import nn

from runfolder.names import EVALUATION, SPLITS
from smalldet.data.catalog import registered
from smalldet.engine.distributed import unwrapped
from smalldet.engine.faults.memory import in_evaluation
from smalldet.engine.hooks.metrics import LOGGERS
from smalldet.engine.loaders import BatchPerStep
from smalldet.engine.settings import TrainSettings
from smalldet.engine.trainer import Trainer
from smalldet.engine.weights import load_start_weights
from smalldet.evaluation.tiles import Tiling
from smalldet.predict.images import TiledDetector

logger = logging.getLogger(__name__)
Config = Mapping[str, Any]


def set_up_logging(output_dir: str) -> None:
    """Log to the terminal (main process) and to the run folder's ``log.txt``."""
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    for name in LOGGERS:
        log = setup_logger(output_dir, distributed_rank=comm.get_rank(), name=name)
        for handler in log.handlers:
            if getattr(handler, "stream", None) is sys.stdout:
                handler.setLevel(logging.INFO)  # the file alone has the tracebacks of errors


def build_model(cfg: Config, settings: TrainSettings) -> nn.Module:
    """The seeded model of ``cfg`` on its device, without pretrained weights."""
    # Detectron2 0.5 makes its anchors in the old way, of which torch would tell in each run.
    warnings.filterwarnings("ignore", "torch.meshgrid: in an upcoming release", UserWarning)
    seed_all_rng(settings.seed + comm.get_rank())
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"train.device={device}, but torch sees no GPU. Use train.device=auto or cpu, or run "
            "tools/doctor.py to see why."
        )
    model = cast(nn.Module, instantiate(cfg["model"]))
    return model.to(device)


def register_data(
    cfg: Config, settings: TrainSettings, model: nn.Module, is_trained: bool = True
) -> Any:
    """Register the data set of ``cfg``, if it has one, and compare it with schedule and heads.

    Args:
        cfg: the config.
        settings: its ``train``.
        model: its heads say how many classes they predict.
        is_trained: without training, the training split may be missing.

    Returns:
        The data set, which has a ``fingerprint`` and ``findings``; None if there is none.

    Raises:
        ValueError: data, schedule and heads do not fit together.
    """
    if not cfg.get("dataset"):
        return None
    dataset, classes = registered(cfg["dataset"]), head_classes(model)
    if not classes:
        logger.warning(
            f"{type(model).__name__} does not say how many classes it predicts (num_classes of the "
            "model, its head or its roi_heads), so that is not compared with the data."
        )
    dataset.check(classes, settings.images if is_trained else None)
    return dataset


def head_classes(model: nn.Module) -> dict[str, int]:
    """How many classes each head of ``model`` says that it predicts, by the head's config key.

    Heads are ``head`` of our detectors and, of Detectron2's, ``roi_heads`` or the model itself.
    """
    places = {"model": model, **{f"model.{k}": getattr(model, k, None) for k in _HEADS}}
    found = {key: getattr(part, "num_classes", None) for key, part in places.items()}
    return {key: count for key, count in found.items() if isinstance(count, int)}


_HEADS = ("head", "roi_heads")


def load_pretrained(model: nn.Module, init_checkpoint: str) -> None:
    """Give a new run its start weights: a whole model's, or those the backbones name."""
    if init_checkpoint:
        load_start_weights(model, init_checkpoint)
        return
    for module in model.modules():
        load = getattr(module, "load_pretrained", None)
        if load is not None and not signature(load).parameters:  # timm's own wants a file
            load()


def build_trainer(
    cfg: Config, settings: TrainSettings, model: nn.Module, loader: Any = None
) -> Trainer:
    """The trainer with the optimizer of ``cfg``, and its loader unless another is given."""
    node, optimizer = cfg["dataloader"]["train"], cfg["optimizer"]
    params = instantiate({**optimizer["params"], "model": unwrapped(model)})
    loader = instantiate(node) if loader is None else loader
    if not hasattr(loader, "seek"):
        loader = BatchPerStep(loader)
    return Trainer(
        model,
        loader,
        cast(torch.optim.Optimizer, instantiate({**optimizer, "params": params})),
        amp_dtype=settings.amp_dtype,
        clip_grad_norm=settings.clip_grad_norm,
        clip_grad_value=settings.clip_grad_value,
        total_batch_size=settings.total_batch_size or node.get("total_batch_size") or 1,
        dump_folder=settings.output_dir,
        micro_batch_size=settings.micro_batch_size,
        on_oom=settings.on_oom,
    )


@dataclass(frozen=True)
class Evaluation:
    """What a split is scored with.

    Attributes:
        split: "valid" or "test".
        loader, evaluator: config nodes.
        folder: where ``evaluator`` writes if it is asked to; None: it is Detectron2's or another's
            and writes where its own node says.
    """

    split: str
    loader: Config
    evaluator: Config
    folder: Path | None

    def build_loader(self) -> Any:
        """Lists of Detectron2 dicts, each image once."""
        return instantiate(self.loader)

    def fitting(self) -> AbstractContextManager[None]:
        """Around its scoring: :func:`smalldet.engine.faults.memory.in_evaluation`."""
        return in_evaluation(self.split, self.loader.get("batch_size") or 1)

    def build_tiled(self, model: nn.Module, tiling: Tiling) -> nn.Module:
        """``model`` as it looks at tiles of the images of this split.

        Raises:
            ValueError: the loader has no mapper that says how a tile becomes an input.
        """
        if not self.loader.get("mapper"):
            raise ValueError(
                f"evaluation.{self.split}.tile={tiling.size} is for images; dataloader.{self.split}"
                " has no mapper, which says how a tile becomes an input."
            )
        return TiledDetector(model, instantiate(self.loader["mapper"]), tiling)

    def build_evaluator(self, leaves_files: bool = True) -> Any:
        """A Detectron2 evaluator, writing below the run folder, wherever that lies now."""
        if self.folder is None:
            return instantiate(self.evaluator)
        return instantiate(
            {**self.evaluator, "output_dir": str(self.folder) if leaves_files else ""}
        )


def evaluations_of(cfg: Config, output_dir: str) -> dict[str, Evaluation]:
    """The splits of ``cfg`` that can be scored, valid first.

    Each has a loader in ``dataloader`` and an evaluator in ``evaluation``. Configs of Detectron2
    have ``dataloader.test`` and ``dataloader.evaluator`` alone.
    """
    loaders, evaluators = cfg["dataloader"], cfg.get("evaluation") or {}
    found = {}
    for split in SPLITS:
        folder = Path(output_dir) / EVALUATION / split if split in evaluators else None
        plain = loaders.get("evaluator") if split == "test" else None
        evaluator = evaluators.get(split) or plain
        if loaders.get(split) and evaluator:
            found[split] = Evaluation(split, loaders[split], evaluator, folder)
    return found
