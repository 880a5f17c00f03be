"""From config nodes to the objects of a run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import instantiate
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from torch import nn

from smalldet.engine.checkpoint import RunCheckpointer, load_weights
from smalldet.engine.distributed import unwrapped
from smalldet.engine.ema import EvaluateAverage, WeightAverage
from smalldet.engine.evaluate import evaluate, flat_scores, validation_losses
from smalldet.engine.hooks import LOGGERS, Evaluate
from smalldet.engine.settings import TrainSettings
from smalldet.engine.trainer import Trainer

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
    seed_all_rng(settings.seed + comm.get_rank())
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"train.device={device}, but torch sees no GPU. Use train.device=auto or cpu, or run "
            "tools/doctor.py to see why."
        )
    return instantiate(cfg["model"]).to(device)


def check_data(cfg: Config, settings: TrainSettings, model: nn.Module) -> str:
    """Compare data set, config and head before the first step; return the data's fingerprint.

    Raises:
        ValueError: they disagree.
    """
    dataset = instantiate(cfg["dataset"])
    widths = {getattr(module, "num_classes", None) for module in model.modules()}
    dataset.check(widths - {None}, settings.images)
    return dataset.fingerprint()


def load_pretrained(model: nn.Module, init_checkpoint: str) -> None:
    """Give a new run its start weights: a whole model's, or those the backbones name."""
    if init_checkpoint:
        load_weights(model, init_checkpoint)
        return
    for module in model.modules():
        if hasattr(module, "load_pretrained"):
            module.load_pretrained()


def build_trainer(cfg: Config, settings: TrainSettings, model: nn.Module) -> Trainer:
    """The trainer with the loader and optimizer of ``cfg``."""
    optimizer = cfg["optimizer"]
    params = instantiate({**optimizer["params"], "model": unwrapped(model)})
    return Trainer(
        model,
        instantiate(cfg["dataloader"]["train"]),
        instantiate({**optimizer, "params": params}),
        amp_dtype=settings.amp_dtype,
        clip_grad_norm=settings.clip_grad_norm,
        clip_grad_value=settings.clip_grad_value,
        total_batch_size=settings.total_batch_size,
        dump_folder=settings.output_dir,
    )


def build_evaluation(
    cfg: Config, settings: TrainSettings, model: nn.Module, checkpointer: RunCheckpointer
) -> list[Evaluate]:
    """The hooks that score the valid split: of the weights and, if asked for, of their average.

    Test is left alone until the end.

    Raises:
        ValueError: ``train.best_metric`` is none of the scores.
    """
    loader = instantiate(cfg["dataloader"]["valid"])
    check_metric(settings.best_metric, instantiate(cfg["evaluation"]["valid"]))
    evaluator = build_evaluator(cfg, "valid")

    def score() -> dict[str, float | None]:
        losses = {}
        if settings.validation_loss:
            losses = validation_losses(model, loader, settings.seed)
        return evaluate(model, loader, evaluator) | losses

    common = (checkpointer, settings.best_metric)
    hooks = [Evaluate(settings.eval_period, score, *common)]
    if settings.ema_decay:
        silent = build_evaluator(cfg, "valid", leaves_files=False)
        average = WeightAverage(model, settings.ema_decay)
        score_average = partial(evaluate, model, loader, silent)
        hooks.append(EvaluateAverage(average, settings.eval_period, score_average, *common))
    return hooks


def check_metric(metric: str, evaluator: Any) -> None:
    """Raise ValueError unless ``metric`` is a score; known from an evaluation of nothing."""
    evaluator.reset()
    logging.disable(logging.WARNING)
    try:
        known = flat_scores(evaluator.evaluate())
    finally:
        logging.disable(logging.NOTSET)
    if comm.is_main_process() and metric not in known:
        raise ValueError(
            f'train.best_metric is "{metric}", which is none of the scores: {", ".join(known)}.'
        )


def build_evaluator(cfg: Config, split: str, leaves_files: bool = True) -> Any:
    """The evaluator of a split, writing below the run folder, wherever that lies now."""
    folder = Path(cfg["train"]["output_dir"]) / "evaluation" / split
    output_dir = str(folder) if leaves_files else ""
    return instantiate({**cfg["evaluation"][split], "output_dir": output_dir})
