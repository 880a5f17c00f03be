"""Checkpoints that survive a kill at any moment and hold all that a resume needs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm

from runfolder.checkpoints import last_checkpoint, periodic_checkpoints
from runfolder.checksums import ChecksumWriter
from runfolder.files import replacing
from runfolder.names import LAST_CHECKPOINT
from smalldet.engine.random_state import capture_random_state


class RunCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with whole-file writes and the state of every process.

    It saves; :mod:`smalldet.engine.weights` and :mod:`smalldet.engine.resume` load.

    Args:
        model: The model, wrapped in DistributedDataParallel or not.
        save_dir: The run folder.
        checkpointables: Objects with ``state_dict``; here ``trainer``.
    """

    def save(self, name: str, **extra: Any) -> None:
        """Write ``name``.pth, then name it in ``last_checkpoint``. Call it in every process."""
        processes = comm.all_gather(self._process_state())
        if not self.save_to_disk:
            return
        data: dict[str, Any] = {"model": self.model.state_dict(), "processes": processes, **extra}
        data.update({key: obj.state_dict() for key, obj in self.checkpointables.items()})
        self.logger.info(f"Saving checkpoint to {Path(self.save_dir) / name}.pth")
        save_whole(data, Path(self.save_dir) / f"{name}.pth")
        self.tag_last_checkpoint(f"{name}.pth")

    def _process_state(self) -> dict[str, Any]:
        """What each process has of its own: random generators, memory of its streams."""
        state: dict[str, Any] = {"random": capture_random_state()}
        model: Any = self.model
        if hasattr(model, "recurrent_state"):
            state["recurrent"] = model.recurrent_state()
        return state

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        with replacing(Path(self.save_dir) / LAST_CHECKPOINT, sync=True) as partial:
            partial.write_text(last_filename_basename, encoding="utf-8")

    def save_weights(self, name: str, **extra: Any) -> None:
        """Write a checkpoint of the model alone, for evaluation; no resume starts from it."""
        if self.save_to_disk:
            save_whole({"model": self.model.state_dict(), **extra}, self.path(name))

    def path(self, name: str) -> Path:
        """Where the checkpoint called ``name`` lies."""
        return Path(self.save_dir) / f"{name}.pth"


def save_whole(data: dict[str, Any], path: Path) -> None:
    """``torch.save`` that leaves the old file or the new one, never a part; with its checksum.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path, sync=True) as partial, partial.open("wb") as stream:
        writer: Any = ChecksumWriter(stream)
        try:
            torch.save(data, writer)
        except RuntimeError as error:  # of the archive, which was left without an end
            if not isinstance(cause := error.__context__, OSError):
                raise
            raise OSError(cause.errno, cause.strerror) from error
        writer.close()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, without its size on disk where the file system can."""
    with replacing(target) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copy2(source, partial)


def prune_checkpoints(folder: Path, max_to_keep: int, keep_every: int) -> list[Path]:
    """Remove periodic checkpoints but the newest and every n-th; return what was removed.

    The newest is the one to go on from. Those of more steps are of a course that the run has left,
    for one of its earlier checkpoints; they stay until it has come as far again.

    Args:
        folder: The run folder.
        max_to_keep: How many of the newest stay.
        keep_every: Those whose number of finished steps is a multiple of this stay; 0: none.
            Names of earlier versions have one step less and stay likewise.
    """
    numbered, last = periodic_checkpoints(folder), last_checkpoint(folder)
    newest = next((steps for steps, path in numbered if path == last), None)
    numbered = [pair for pair in numbered if newest is None or pair[0] <= newest]
    removed = [
        path
        for steps, path in numbered[:-max_to_keep]
        if not (keep_every and 0 in (steps % keep_every, (steps + 1) % keep_every))
    ]
    for path in removed:
        path.unlink()
    return removed
