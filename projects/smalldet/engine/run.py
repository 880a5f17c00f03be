"""One run, from a config to scores: build, train or resume, and evaluate the best model once."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import instantiate
from detectron2.engine import create_ddp_model, hooks
from detectron2.solver.lr_scheduler import LRMultiplier
from detectron2.utils import comm
from torch import nn

from runfolder.files import write_text
from runfolder.names import FINGERPRINT, METRICS
from runfolder.records import has_checkpoint
from smalldet.engine.build import (
    Config,
    Evaluation,
    build_model,
    build_trainer,
    evaluations_of,
    load_pretrained,
    register_data,
    set_up_logging,
)
from smalldet.engine.checkpoint import RunCheckpointer, link_or_copy
from smalldet.engine.distributed import unwrapped
from smalldet.engine.evaluate import check_metric, evaluate, parameter_counts, validation_losses
from smalldet.engine.feature_cache import use_feature_cache
from smalldet.engine.hooks.ema import EvaluateAverage, WeightAverage
from smalldet.engine.hooks.evaluation import EarlyStop, Evaluate
from smalldet.engine.hooks.hparams import write_hparams
from smalldet.engine.hooks.metrics import Throughput, WriteMetrics, peak_memory_mb, progress_bar
from smalldet.engine.hooks.micro_batch import RecordMicroBatch
from smalldet.engine.hooks.profile import Profile, steps_to_profile
from smalldet.engine.hooks.saving import SaveCheckpoint, StopOnRequest
from smalldet.engine.resume import forget_lost_models, last_of, resume_from
from smalldet.engine.settings import DDP, TrainSettings, read_settings
from smalldet.engine.trainer import Trainer
from smalldet.engine.weights import best_checkpoint, load_scored, load_weights
from smalldet.engine.writers import build_writers, require_wandb, rewind_metrics
from smalldet.layers.precision import in_precision

logger = logging.getLogger(__name__)


def run(cfg: Config, resume: bool = False, eval_only: bool = False) -> dict[str, Any]:
    """Train as ``cfg`` says, or only evaluate, in this process of the job.

    Args:
        cfg: A loaded and resolved config in plain dicts and lists, with ``model``, ``dataloader``,
            ``optimizer``, ``lr_multiplier`` and ``train``; perhaps ``dataset``, ``evaluation`` and
            ``experiment``.
        resume: Continue from the run folder's last checkpoint; without one, start.
        eval_only: Score what :func:`load_scored` loads.

    Returns:
        What ``results.json`` holds: scores on valid and test, best step, times, memory.

    Raises:
        ValueError: Config, data and model do not fit together.
        FileExistsError: The run folder holds a run and ``resume`` is False.
    """
    settings = read_settings(cfg["train"])
    set_up_logging(settings.output_dir)
    if settings.wandb and not eval_only:
        require_wandb()
    model = build_model(cfg, settings)
    use_feature_cache(cfg, settings, model)
    dataset = register_data(cfg, settings, model, is_trained=not eval_only)
    if eval_only:
        path = load_scored(model, settings.output_dir, settings.init_checkpoint)
        logger.info(f"Evaluating {path}.")
        return score_splits(cfg, settings, model)
    measured = train(cfg, settings, model, resume, dataset.fingerprint() if dataset else "")
    findings = dataset.findings() if dataset else {}
    results = evaluate_best(cfg, settings, model) | measured | {"data_findings": findings}
    if comm.is_main_process():
        write_hparams(settings.output_dir, cfg, results)
    for split, counts in findings.items():
        named = ", ".join(f"{what.replace('_', ' ')} {count}" for what, count in counts.items())
        logger.info(f"Data left out or changed, {split}: {named}.")
    return results


def train(
    cfg: Config, settings: TrainSettings, model: nn.Module, resume: bool, fingerprint: str
) -> dict[str, Any]:
    """Train ``model`` in place up to ``train.max_iter``; return what was measured."""
    folder = Path(settings.output_dir)
    resuming = has_checkpoint(folder, resume)
    if not resuming:
        load_pretrained(model, settings.init_checkpoint)
    counts = parameter_counts(model)
    logger.info(f"Parameters: {counts['trainable']:,} trainable, {counts['frozen']:,} frozen.")
    model = parallel(model, settings.ddp)
    trainer = build_trainer(cfg, settings, model)
    checkpointer = RunCheckpointer(model, str(folder), trainer=trainer)
    throughput = Throughput(trainer.total_batch_size)
    evaluating = evaluation_hooks(cfg, settings, model, checkpointer)
    best = evaluating[0] if evaluating else None
    stop = EarlyStop(settings.patience, best) if settings.patience and best else None
    multiplier: Any = instantiate(cfg["lr_multiplier"])
    scheduler = LRMultiplier(trainer.optimizer, multiplier, settings.max_iter)
    measuring = [hooks.IterationTimer(), throughput, hooks.LRScheduler(scheduler=scheduler)]
    if comm.is_main_process():
        measuring.append(Profile(steps_to_profile(settings.profile), folder))
    trainer.register_hooks([*measuring, *evaluating, stop])
    done = 0
    if resuming:
        done = resume_from(trainer, checkpointer, fingerprint)
        forget_lost_models(evaluating)
    if fingerprint and comm.is_main_process():
        write_text(folder / FINGERPRINT, f"{fingerprint}\n")
    if done < settings.max_iter and not (stop and stop.is_over):
        register_writing_hooks(trainer, checkpointer, settings, done, fingerprint)
        trainer.train(done, settings.max_iter)
        done = trainer.max_iter
    if comm.is_main_process():
        link_or_copy(last_of(folder), checkpointer.path("model_final"))
    return best_step(settings, best) | {
        "iterations": done,
        "training_seconds": throughput.training_seconds,
        "seconds_per_iteration": throughput.training_seconds / done,
        "peak_memory_mb": peak_memory_mb(),
        "final_loss": trainer.final_loss(),
        "exit_reason": exit_reason(settings, done, stop),
        "parameters": counts,
        "data_fingerprint": fingerprint or None,
    }


def parallel(model: nn.Module, ddp: Mapping[str, Any] = DDP) -> nn.Module:
    """The model, wrapped for several processes if there are several; ``ddp`` as in ``train``."""
    on_gpu = next(model.parameters()).is_cuda
    ids = [torch.cuda.current_device()] if on_gpu else None
    return create_ddp_model(model, device_ids=ids, **ddp)


def evaluation_hooks(
    cfg: Config, settings: TrainSettings, model: nn.Module, checkpointer: RunCheckpointer
) -> list[Evaluate]:
    """The hooks that score the weights, and their average if asked for, as they are trained.

    They score valid, and leave test alone until the end; test only where there is no valid.

    Raises:
        ValueError: ``train.best_metric`` is none of the scores.
    """
    evaluations = evaluations_of(cfg, settings.output_dir)
    if not evaluations:
        logger.warning("Nothing is evaluated: the config has no evaluator.")
        return []
    evaluation = next(iter(evaluations.values()))
    loader = evaluation.build_loader()
    if evaluation.folder:
        check_metric(settings.best_metric, evaluation.build_evaluator(leaves_files=False))

    def score(evaluator: Any, with_losses: bool = False) -> dict[str, float | None]:
        with evaluation.fitting():
            losses = validation_losses(model, loader, settings.seed) if with_losses else {}
            return evaluate(model, loader, evaluator) | losses

    common = (checkpointer, settings.best_metric)
    has_losses = settings.validation_loss and evaluation.split == "valid"
    evaluator = evaluation.build_evaluator()
    score_weights = partial(score, evaluator, has_losses)
    sheet = getattr(evaluator, "found_sheet", None)
    found = [Evaluate(settings.eval_period, score_weights, *common, sheet)]
    if settings.ema_decay:
        average = WeightAverage(model, settings.ema_decay)
        score_average = partial(score, evaluation.build_evaluator(leaves_files=False))
        found.append(EvaluateAverage(average, settings.eval_period, score_average, *common))
    return found


def register_writing_hooks(
    trainer: Trainer,
    checkpointer: RunCheckpointer,
    settings: TrainSettings,
    start: int,
    fingerprint: str,
) -> None:
    """Have ``trainer`` write record and metrics (main process) and checkpoints, in that order."""
    keep = {**settings.checkpointer, "keep_every": settings.keep_every}
    saving = SaveCheckpoint(checkpointer, **keep, data_fingerprint=fingerprint)
    if comm.is_main_process():
        rewind_metrics(Path(settings.output_dir) / METRICS, start)
        writers = build_writers(settings, start)
        recording = RecordMicroBatch(Path(settings.output_dir), settings.micro_batch_size)
        writing = WriteMetrics(writers, settings.log_period, saving)
        trainer.register_hooks([recording, writing])
    trainer.register_hooks([saving, progress_bar(), StopOnRequest(saving)])


def exit_reason(settings: TrainSettings, done: int, stop: EarlyStop | None) -> str:
    """Why training ended after ``done`` steps, in a sentence."""
    if stop and stop.is_over and done < settings.max_iter:
        return f"Stopped early after {done} of {settings.max_iter} steps: {stop.reason()}"
    return f"All {done} steps done and the best model evaluated."


def best_step(settings: TrainSettings, best: Evaluate | None) -> dict[str, Any]:
    """The best step and its epoch; None where nothing was scored, or there are no epochs."""
    if best is None:
        return {"best_iteration": None, "best_epoch": None}
    length = settings.iterations_per_epoch
    epoch = math.ceil((best.best_iteration + 1) / length) if length else None
    return {"best_iteration": best.best_iteration, "best_epoch": epoch}


def evaluate_best(cfg: Config, settings: TrainSettings, model: nn.Module) -> dict[str, Any]:
    """Score the best model on valid and, this once, on test; the best average likewise."""
    comm.synchronize()
    folder = Path(settings.output_dir)
    load_weights(model, best_checkpoint(folder))
    results = score_splits(cfg, settings, model)
    average = folder / f"{EvaluateAverage.best_name}.pth"
    if settings.ema_decay and average.exists():
        load_weights(model, average)
        results["ema"] = score_splits(cfg, settings, model, leaves_files=False)
    return results


def score_splits(
    cfg: Config, settings: TrainSettings, model: nn.Module, leaves_files: bool = True
) -> dict[str, Any]:
    """Flat scores of ``model`` on valid and test; {} for each outside the main process.

    Where the evaluator asks for tiles, the scores with them stand beside, as ``tiled/AP50``; where
    ``train.eval_precision`` asks for it, those in bfloat16, as ``bf16/bbox/AP50``.
    """
    results = {}
    for split, evaluation in evaluations_of(cfg, settings.output_dir).items():
        evaluator = evaluation.build_evaluator(leaves_files)
        with evaluation.fitting():
            results[split] = evaluate(model, evaluation.build_loader(), evaluator)
        if hasattr(evaluator, "write_gallery"):
            evaluator.write_gallery()
        if tiling := getattr(evaluator, "tiling", None):
            scores = score_beside(evaluation, evaluation.build_tiled(unwrapped(model), tiling))
            results[split] |= {k.replace("bbox/", "tiled/", 1): v for k, v in scores.items()}
        if settings.eval_precision != "fp32":
            rounded = in_precision(unwrapped(model), settings.eval_precision)
            scores = score_beside(evaluation, rounded)
            log_difference(split, settings, results[split], scores)
            results[split] |= {f"{settings.eval_precision}/{k}": v for k, v in scores.items()}
    return results


def score_beside(evaluation: Evaluation, model: nn.Module) -> dict[str, float | None]:
    """Scores of a variant of the model, which leaves no files."""
    silent = evaluation.build_evaluator(leaves_files=False)
    with evaluation.fitting():
        return evaluate(model, evaluation.build_loader(), silent)


def log_difference(
    split: str,
    settings: TrainSettings,
    scores: Mapping[str, float | None],
    rounded: Mapping[str, float | None],
) -> None:
    """Say what the precision costs of the score that chooses the best model."""
    name = settings.best_metric
    exact, other = scores.get(name), rounded.get(name)
    if exact is not None and other is not None:
        logger.info(
            f"{name} on {split}: {exact:.2f} in fp32, {other:.2f} in {settings.eval_precision} "
            f"({other - exact:+.2f})."
        )
