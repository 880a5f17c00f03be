"""Save the run: every so many steps, and when it is asked to stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm

from runfolder.checkpoints import checkpoint_name
from smalldet.engine.checkpoint import RunCheckpointer, prune_checkpoints
from smalldet.engine.distributed import mean_over_processes
from smalldet.engine.hooks.period import is_due
from smalldet.engine.trainer import Trainer

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
ONE_REQUEST_SECONDS = 2.0
"""Signals within this time are one request: torchrun passes on a Ctrl-C that a terminal has sent to
its processes already."""


class SaveCheckpoint(HookBase):
    """Saves the run every ``period`` steps, at those to keep, and at the end.

    Comes after every stateful hook.

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
        step, last = self.trainer.iter, self.trainer.max_iter
        return is_due(step, self.period, last) or is_due(step, self.keep_every, last)

    def save(self) -> None:
        """Save this step; called in every process."""
        step = self.trainer.iter
        self.checkpointer.save(checkpoint_name(step + 1), iteration=step, **self.extra)
        if comm.is_main_process():
            prune_checkpoints(Path(self.checkpointer.save_dir), self.max_to_keep, self.keep_every)


class StopOnRequest(HookBase):
    """Raises KeyboardInterrupt after the step in which the run was asked to stop, and saves first.

    Comes after ``saving``. Ctrl-C, SIGTERM and SIGUSR1 are requests; a later second one ends the
    process at once. All processes of a job stop after the same step, whichever of them was asked.

    Args:
        saving: saves the step if it has not done so anyway.
    """

    trainer: Trainer

    def __init__(self, saving: SaveCheckpoint) -> None:
        self.saving = saving
        self._asked: float | None = None  # when, by time.monotonic()
        self._handlers: dict[int, Any] = {}

    def before_train(self) -> None:
        if threading.current_thread() is threading.main_thread():
            # Now, so that data-loading processes, which start later, do not die of a Ctrl-C.
            self._handlers = {number: signal.signal(number, self._request) for number in SIGNALS}

    def after_step(self) -> None:
        if not self._agreed():
            return
        if not self.saving.is_due():
            self.saving.save()
        comm.synchronize()  # no process ends while another one is still saving
        raise KeyboardInterrupt

    def after_train(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _agreed(self) -> bool:
        asked = self._asked is not None
        if comm.get_world_size() == 1:
            return asked
        mine = torch.tensor(float(asked), device=self.trainer.device)
        return mean_over_processes({"asked": mine})["asked"] > 0

    def _request(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            logger.warning("Asked to stop: the run ends after this step. Once more: at once.")
        elif now - self._asked > ONE_REQUEST_SECONDS:
            raise KeyboardInterrupt
