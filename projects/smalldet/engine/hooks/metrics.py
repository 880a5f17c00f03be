"""Measure the steps, write down what was measured, and show how far the run is."""

from __future__ import annotations

import logging
import resource
import sys
import time
from contextlib import ExitStack
from typing import Any

import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from smalldet.engine.hooks.period import is_due
from smalldet.engine.hooks.saving import SaveCheckpoint

LOGGERS = ("detectron2", "smalldet", "eventcam", "boxmetrics", "labbook", "fvcore")


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


class WriteMetrics(hooks.PeriodicWriter):
    """Detectron2's periodic writer that also writes before every checkpoint.

    A resumed run starts from a checkpoint; what was measured up to it must be on disk by then.
    """

    def __init__(self, writers: list[Any], period: int, saving: SaveCheckpoint) -> None:
        super().__init__(writers, period)
        self.saving = saving

    def after_step(self) -> None:
        step, last = self.trainer.iter, self.trainer.max_iter
        if is_due(step, self._period, last) or self.saving.is_due():
            for writer in self._writers:
                writer.write()


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
