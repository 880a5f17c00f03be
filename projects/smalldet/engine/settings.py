"""How a run is trained: the ``train`` node of every config."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from smalldet.engine.faults.memory import ON_OOM
from smalldet.engine.hooks.profile import steps_to_profile
from smalldet.layers.precision import PRECISIONS

DTYPES = ("bf16", "fp16")
AMP = {"enabled": False, "dtype": "bf16"}
DDP = {"broadcast_buffers": False, "find_unused_parameters": False, "fp16_compression": False}
CHECKPOINTER = {"period": 5000, "max_to_keep": 2}

logger = logging.getLogger(__name__)


@dataclass
class TrainSettings:
    """Everything about a run that is neither model, data, optimizer nor schedule.

    Names and nesting are those of Detectron2's ``common/train.py``; the others are ours, and may be
    left out.

    Attributes:
        output_dir: The run folder; all that the run writes goes there.
        init_checkpoint: Whole-model checkpoint to start from; "" starts from the backbone's own.
            One of another program (``.pkl``, ``detectron2://...``, or RVT's ``.ckpt``) is loaded as
            far as it fits.
        max_iter: Optimisation steps.
        amp: ``enabled``, and ``dtype``: "bf16" or "fp16" (GPU only; with loss scaling). Validation
            loss, and the scores that count, are fp32 always.
        ddp: Of several processes: ``broadcast_buffers``, ``find_unused_parameters``,
            ``fp16_compression`` of the gradients that they exchange.
        checkpointer: ``period``, steps between checkpoints; ``max_to_keep``, how many of the newest
            stay on disk.
        eval_period: Steps between evaluations on the valid split; 0 evaluates at the end only.
        eval_precision: "bf16" scores the best model in bfloat16, too, beside the others under names
            that begin with ``bf16/``, and logs the difference; "fp32" does not.
        log_period: Steps between lines in ``log.txt``, ``metrics.json`` and TensorBoard.
        device: "auto" (the GPU if there is one), "cuda" or "cpu".
        images: Number of images in the training split; compared with the data set at start. 0
            where steps are given directly, as for streams of recordings.
        epochs: Passes over the training split; 0 likewise.
        total_batch_size: Images per optimisation step over all processes: the effective batch. 0
            takes batches as the loader gives them.
        micro_batch_size: Images per forward pass of one process; gradients accumulate over the
            micro-batches of a step. Lower it to save memory.
        on_oom: When the GPU is out of memory in a step: "stop" ends the run and says what to try;
            "halve" repeats the step, and goes on, with at most half of the micro-batch, from the
            same random state: in the first step that is a run begun so. Later on the same samples
            follow, and random draws and batch norms are those of smaller micro-batches from here
            on. In one process; the run's record has the micro-batch used.
        iterations_per_epoch: ceil(images / total_batch_size), or what counts as one; derived.
        warmup_iters: Steps of linear learning-rate warm-up.
        seed: Seeds weights, data order, augmentation and the model's random sampling.
        clip_grad_norm: Upper bound of the global L2 norm of the gradient; 0 does not clip.
        clip_grad_value: Upper bound of the size of each gradient; 0 does not clip.
        feature_cache: Folder with the features of the frozen backbone, which
            ``tools/cache_features.py`` makes; "" computes them anew.
        feature_cache_dtype: "fp32" or "fp16", as the cache was made.
        validation_loss: Also compute the losses on the valid split at each evaluation.
        best_metric: The valid score that ``model_best.pth`` maximises.
        ema_decay: Of an average of the weights over the steps, as 0.999; 0 has none. It is scored
            beside the weights, under names that begin with ``ema/``, and kept in
            ``model_best_ema.pth``.
        patience: Evaluations in a row without a better best score after which the run ends; 0 never
            ends it early.
        profile: Steps to watch with torch's profiler, as "10:20"; "" none.
        keep_every: Also save every so many steps, and never remove these checkpoints; 0 keeps none.
        wandb: Also log to Weights & Biases (extra ``[wandb]``).
        project_name, group_name: What W&B files the run under.
        experiment_id: Its name there; "" takes that of its folder.

    Raises:
        ValueError: a value is out of its range.
    """

    output_dir: str = "./output"
    init_checkpoint: str = ""
    max_iter: int = 90_000
    amp: dict[str, Any] = field(default_factory=AMP.copy)
    ddp: dict[str, Any] = field(default_factory=DDP.copy)
    checkpointer: dict[str, Any] = field(default_factory=CHECKPOINTER.copy)
    eval_period: int = 5000
    eval_precision: str = "fp32"
    log_period: int = 20
    device: str = "auto"
    images: int = 0
    epochs: int = 0
    total_batch_size: int = 0
    micro_batch_size: int = 0
    on_oom: str = "stop"
    iterations_per_epoch: int = 0
    warmup_iters: int = 500
    seed: int = 0
    clip_grad_norm: float = 0.0
    clip_grad_value: float = 0.0
    feature_cache: str = ""
    feature_cache_dtype: str = "fp32"
    validation_loss: bool = True
    best_metric: str = "bbox/AP"
    ema_decay: float = 0.0
    patience: int = 0
    profile: str = ""
    keep_every: int = 0
    wandb: bool = False
    project_name: str = "smalldet"
    group_name: str = ""
    experiment_id: str = ""

    def __post_init__(self) -> None:
        self.amp = _filled("amp", self.amp, AMP)
        self.ddp = _filled("ddp", self.ddp, DDP)
        self.checkpointer = _filled("checkpointer", self.checkpointer, CHECKPOINTER)
        if self.amp["dtype"] not in DTYPES:
            raise ValueError(f'train.amp.dtype is "{self.amp["dtype"]}"; expected one of {DTYPES}.')
        if self.eval_precision not in PRECISIONS:
            raise ValueError(
                f'train.eval_precision is "{self.eval_precision}"; expected one of {PRECISIONS}.'
            )
        if self.on_oom not in ON_OOM:
            raise ValueError(f'train.on_oom is "{self.on_oom}"; expected one of {ON_OOM}.')
        numbers = vars(self) | {f"checkpointer.{k}": v for k, v in self.checkpointer.items()}
        for name, value in numbers.items():
            least = 1 if name in _AT_LEAST_1 else 0
            if isinstance(value, int | float) and value < least:
                raise ValueError(f"train.{name} is {value}; it must be at least {least}.")
        if self.ema_decay >= 1:
            raise ValueError(
                f"train.ema_decay is {self.ema_decay}; it must be below 1, as 0.999, or 0 for none."
            )
        steps_to_profile(self.profile)
        if self.best_metric.startswith("validation/"):
            raise ValueError(
                f'train.best_metric is "{self.best_metric}", a loss; the best score is the highest.'
            )

    @property
    def amp_dtype(self) -> str | None:
        """Of autocast in training; None without."""
        return self.amp["dtype"] if self.amp["enabled"] else None


_AT_LEAST_1 = ("max_iter", "log_period", "checkpointer.period", "checkpointer.max_to_keep")


def read_settings(node: Mapping[str, Any]) -> TrainSettings:
    """The settings of a config's ``train``; what it has besides is named in the log, once.

    Raises:
        ValueError: a value is out of its range.
    """
    known = {item.name for item in fields(TrainSettings)}
    unread = sorted(node.keys() - known - {"_target_"})
    if unread:
        logger.warning(f"Nothing reads train.{', train.'.join(unread)}.")
    return TrainSettings(**{name: node[name] for name in node if name in known})


def _filled(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    for key in given.keys() - defaults.keys():
        near = difflib.get_close_matches(key, defaults, 1)
        hint = f" Did you mean train.{name}.{near[0]}?" if near else ""
        raise ValueError(f"Nothing reads train.{name}.{key}.{hint}")
    return {**defaults, **given}
