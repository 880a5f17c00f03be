"""Write into the run's record what micro-batch it has come down to (``train.on_oom=halve``)."""

from __future__ import annotations

from pathlib import Path

from detectron2.engine import HookBase

from runfolder.records import note_micro_batch
from smalldet.engine.trainer import Trainer


class RecordMicroBatch(HookBase):
    """Keeps ``run.json`` true from the first smaller step on, also of a run that is resumed.

    Args:
        folder: of the run.
        configured: ``train.micro_batch_size``.
    """

    trainer: Trainer

    def __init__(self, folder: Path, configured: int) -> None:
        self.folder, self.configured = folder, configured
        self._noted = -1

    def before_train(self) -> None:
        """What the record says may be of steps that are lost."""
        self.after_step()

    def after_step(self) -> None:
        used = self.trainer.micro_batch_size
        if used != self._noted:
            size = None if used == self.configured else used
            note_micro_batch(self.folder, size, self.trainer.iter)
            self._noted = used
