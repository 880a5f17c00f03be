"""What happens around the steps of a run: measuring, evaluating, writing, saving."""

from __future__ import annotations

import logging
import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from smalldet.engine.checkpoint import RunCheckpointer, checkpoint_name, prune_checkpoints

logger = logging.getLogger(__name__)
LOGGERS = ("detectron2", "smalldet", "eventcam", "boxmetrics", "labbook", "fvcore")


def is_due(step: int, period: int, max_iter: int) -> bool:
    """Whether what comes every ``period`` steps (0: never) and at the end is due after ``step``."""
    return step + 1 == max_iter or (period > 0 and (step + 1) % period == 0)


def peak_memory_mb() -> float:
    """Peak memory in MiB: allocated on the GPU, or resident on a CPU (this process, no workers)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class Throughput(HookBase):
    """Logs images per second and peak memory of every step, and adds up the time of all steps.

    Evaluation and saving do not count; the sum goes on through resumes.
    """

    def __init__(self, total_batch_size: int) -> None:
        self.total_batch_size = total_batch_size
        self.training_seconds = 0.0
        self._started = 0.0

    def before_step(self) -> None:
        self._started = time.perf_counter()

    def after_step(self) -> None:
        seconds = time.perf_counter() - self._started
        self.training_seconds += seconds
        put = self.trainer.storage.put_scalar
        put("images_per_second", self.total_batch_size / seconds)
        put("memory_mb", peak_memory_mb(), smoothing_hint=False)

    def state_dict(self) -> dict[str, float]:
        return {"training_seconds": self.training_seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.training_seconds = state["training_seconds"]


class Evaluate(HookBase):
    """Scores the model every ``period`` steps and at the end, and keeps the best weights.

    The best score is part of the checkpoint, so a resumed run does not overwrite a better model.

    Args:
        period: In steps.
        score: Returns flat scores in the main process; called in every process.
        checkpointer: Writes the best weights, as ``best_name``.
        metric: Name of the score to maximise.
    """

    best_name = "model_best"

    def __init__(
        self,
        period: int,
        score: Callable[[], dict[str, float | None]],
        checkpointer: RunCheckpointer,
        metric: str,
    ) -> None:
        self.period = period
        self.score = score
        self.checkpointer = checkpointer
        self.metric = metric
        self.best_score = -math.inf
        self.best_iteration = -1

    def after_step(self) -> None:
        if not is_due(self.trainer.iter, self.period, self.trainer.max_iter):
            return
        scores = self.score()
        if comm.is_main_process():
            self._log(scores)
            self._keep_best(scores)
        comm.synchronize()

    def _log(self, scores: dict[str, float | None]) -> None:
        for name, value in scores.items():
            number = math.nan if value is None else float(value)
            self.trainer.storage.put_scalar(name, number, smoothing_hint=False)

    def _keep_best(self, scores: dict[str, float | None]) -> None:
        value = scores[self.metric]
        if value is None or not value > self.best_score:
            return
        self.best_score, self.best_iteration = float(value), self.trainer.iter
        extra = {"iteration": self.best_iteration, "score": self.best_score}
        self.checkpointer.save_weights(self.best_name, **extra)
        logger.info(f"Best {self.metric} so far: {value:.3f} after step {self.trainer.iter + 1}.")

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_iteration": self.best_iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_score = state["best_score"]
        self.best_iteration = state["best_iteration"]


class WriteMetrics(hooks.PeriodicWriter):
    """Detectron2's periodic writer that also writes before every checkpoint.

    A resumed run starts from a checkpoint; what was measured up to it must be on disk by then.
    """

    def __init__(self, writers: list[Any], period: int, checkpoint_period: int) -> None:
        super().__init__(writers, period)
        self.checkpoint_period = checkpoint_period

    def after_step(self) -> None:
        step, last = self.trainer.iter, self.trainer.max_iter
        if is_due(step, self._period, last) or is_due(step, self.checkpoint_period, last):
            for writer in self._writers:
                writer.write()


class SaveCheckpoint(HookBase):
    """Saves the run every ``period`` steps and at the end; comes after every stateful hook.

    Args:
        checkpointer: Its folder is the run's.
        period: In steps.
        max_to_keep, keep_every: See ``TrainSettings``.
        extra: More to save, as the fingerprint of the data.
    """

    def __init__(
        self,
        checkpointer: RunCheckpointer,
        period: int,
        max_to_keep: int,
        keep_every: int,
        **extra: Any,
    ) -> None:
        self.checkpointer = checkpointer
        self.period = period
        self.max_to_keep = max_to_keep
        self.keep_every = keep_every
        self.extra = extra

    def after_step(self) -> None:
        """Save if due."""
        if self.is_due():
            self.save()

    def is_due(self) -> bool:
        """Whether this step is one of those that are saved."""
        return is_due(self.trainer.iter, self.period, self.trainer.max_iter)

    def save(self) -> None:
        """Save this step; called in every process."""
        step = self.trainer.iter
        self.checkpointer.save(checkpoint_name(step), iteration=step, **self.extra)
        if comm.is_main_process():
            prune_checkpoints(Path(self.checkpointer.save_dir), self.max_to_keep, self.keep_every)


class ProgressBar(HookBase):
    """A bar with the time left; log lines print above it."""

    def __init__(self) -> None:
        self._closing = ExitStack()
        self._bar = tqdm(disable=True)

    def before_train(self) -> None:
        start, end = self.trainer.start_iter, self.trainer.max_iter
        self._bar = tqdm(total=end, initial=start, unit="step", dynamic_ncols=True, leave=False)
        self._closing.callback(self._bar.close)
        loggers = [logging.getLogger(name) for name in LOGGERS]
        self._closing.enter_context(logging_redirect_tqdm(loggers))

    def after_step(self) -> None:
        latest = self.trainer.storage.latest()
        self._bar.update()
        self._bar.set_postfix(loss=f"{latest['total_loss'][0]:.3f}", refresh=False)

    def after_train(self) -> None:
        self._closing.close()


def progress_bar() -> ProgressBar | None:
    """The bar where somebody can see it move, else None."""
    return ProgressBar() if sys.stderr.isatty() and comm.is_main_process() else None
