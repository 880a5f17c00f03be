"""Save the run every so many steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm

from smalldet.engine.checkpoint import RunCheckpointer, checkpoint_name, prune_checkpoints
from smalldet.engine.hooks.period import is_due


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
