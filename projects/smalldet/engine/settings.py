"""How a run is trained: the ``train`` node of every config."""

from __future__ import annotations

from dataclasses import dataclass

from smalldet.engine.profile import steps_to_profile

PRECISIONS = ("off", "bf16", "fp16")


@dataclass
class TrainSettings:
    """Everything about a run that is neither model, data, optimizer nor schedule.

    Attributes:
        output_dir: The run folder; all that the run writes goes there.
        images: Number of images in the training split; compared with the data set at start. 0
            where steps are given directly, as for streams of recordings.
        epochs: Passes over the training split; 0 likewise.
        total_batch_size: Images per optimisation step over all processes: the effective batch.
        micro_batch_size: Images per forward pass of one process; gradients accumulate over the
            micro-batches of a step. Lower it to save memory; the experiment stays the same.
        iterations_per_epoch: ceil(images / total_batch_size), or what counts as one; derived.
        max_iter: Optimisation steps; derived.
        warmup_iters: Steps of linear learning-rate warm-up.
        seed: Seeds weights, data order, augmentation and the model's random sampling.
        device: "auto" (the GPU if there is one), "cuda" or "cpu".
        amp: "off" (fp32), "bf16" or "fp16" (GPU only; with loss scaling). Evaluation and validation
            loss are fp32 always.
        compile: Have PyTorch's compiler (torch.compile) make the kernels of trained necks and
            heads, in training steps only. Losses differ by rounding; checkpoints are the same.
            Off, because it wins nothing that can be told from noise: with ``make bench
            PARTS=compile`` on 2 CPU cores RVT-T had 1.02 times the speed and the toy Cascade R-CNN
            0.96, and compiling took a minute (at full size several). On a GPU it was not measured.
        clip_grad_norm: Upper bound of the global L2 norm of the gradient; 0 does not clip.
        clip_grad_value: Upper bound of the size of each gradient; 0 does not clip.
        init_checkpoint: Whole-model checkpoint to start from; "" starts from the backbone's own.
        feature_cache: Folder with the features of the frozen backbone, which
            ``tools/cache_features.py`` makes; "" computes them anew.
        feature_cache_dtype: "fp32" or "fp16", as the cache was made.
        eval_period: Steps between evaluations on the valid split.
        validation_loss: Also compute the losses on the valid split at each evaluation.
        best_metric: The valid score that ``model_best.pth`` maximises.
        ema_decay: Of an average of the weights over the steps, as 0.999; 0 has none. It is scored
            beside the weights, under names that begin with ``ema/``, and kept in
            ``model_best_ema.pth``.
        patience: Evaluations in a row without a better best score after which the run ends; 0 never
            ends it early.
        profile: Steps to watch with torch's profiler, as "10:20"; "" none.
        checkpoint_period: Steps between checkpoints.
        keep_last: How many of the newest checkpoints stay on disk.
        keep_every: Also keep each checkpoint whose step is a multiple of this; 0 keeps none.
        log_period: Steps between lines in ``log.txt``, ``metrics.json`` and TensorBoard.
        wandb: Also log to Weights & Biases (extra ``[wandb]``).
        project_name, group_name, experiment_id: What W&B files the run under.
    """

    output_dir: str
    images: int
    epochs: int
    total_batch_size: int
    micro_batch_size: int
    iterations_per_epoch: int
    max_iter: int
    eval_period: int
    checkpoint_period: int
    warmup_iters: int = 500
    seed: int = 0
    device: str = "auto"
    amp: str = "off"
    compile: bool = False
    clip_grad_norm: float = 0.0
    clip_grad_value: float = 0.0
    init_checkpoint: str = ""
    feature_cache: str = ""
    feature_cache_dtype: str = "fp32"
    validation_loss: bool = True
    best_metric: str = "bbox/AP"
    ema_decay: float = 0.0
    patience: int = 0
    profile: str = ""
    keep_last: int = 2
    keep_every: int = 0
    log_period: int = 20
    wandb: bool = False
    project_name: str = "smalldet"
    group_name: str = ""
    experiment_id: str = ""

    def __post_init__(self) -> None:
        if self.amp not in PRECISIONS:
            raise ValueError(f'train.amp is "{self.amp}"; it must be one of {PRECISIONS}.')
        counts = ("total_batch_size", "micro_batch_size", "iterations_per_epoch", "max_iter")
        periods = ("eval_period", "checkpoint_period", "log_period", "keep_last")
        limits = ("warmup_iters", "seed", "clip_grad_norm", "clip_grad_value", "keep_every")
        limits += ("ema_decay", "patience")
        for least, names in ((1, (*counts, *periods)), (0, limits)):
            for name in names:
                value = getattr(self, name)
                if value < least:
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
