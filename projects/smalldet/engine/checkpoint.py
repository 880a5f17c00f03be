"""Checkpoints that survive a kill at any moment and hold all that a resume needs."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm
from safetensors.torch import load_file
from torch import nn

from runfolder.files import replacing, write_text
from runfolder.names import LAST_CHECKPOINT
from smalldet.engine.random_state import capture_random_state

SAFETENSORS = ".safetensors"  # exported weights
LIGHTNING = ".ckpt"  # published detectors of RVT
PERIODIC = re.compile(r"model_(\d+)\.pth")


def checkpoint_name(steps: int) -> str:
    """Name of the checkpoint after so many steps, without its suffix."""
    return f"model_{steps:07d}"


class RunCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with whole-file writes and the state of every process.

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

    def _load_file(self, filename: str) -> dict[str, Any]:
        checkpoint = read_checkpoint(filename)
        # Detectron2 itself would skip tensors of another shape and go on.
        check_fits(self.model, checkpoint["model"], Path(filename))
        return checkpoint

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        write_text(Path(self.save_dir) / LAST_CHECKPOINT, last_filename_basename)

    def save_weights(self, name: str, **extra: Any) -> None:
        """Write a checkpoint of the model alone, for evaluation; no resume starts from it."""
        if self.save_to_disk:
            save_whole({"model": self.model.state_dict(), **extra}, self.path(name))

    def path(self, name: str) -> Path:
        """Where the checkpoint called ``name`` lies."""
        return Path(self.save_dir) / f"{name}.pth"


def save_whole(data: dict[str, Any], path: Path) -> None:
    """``torch.save`` that leaves the old file or the new one, never a part."""
    with replacing(path, sync=True) as partial, partial.open("wb") as stream:
        torch.save(data, stream)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, without its size on disk where the file system can."""
    with replacing(target) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copy2(source, partial)


def prune_checkpoints(folder: Path, max_to_keep: int, keep_every: int) -> list[Path]:
    """Remove periodic checkpoints but the newest and every n-th; return what was removed.

    Args:
        folder: The run folder.
        max_to_keep: How many of the newest stay.
        keep_every: Those whose number of finished steps is a multiple of this stay; 0: none.
            Names of earlier versions have one step less and stay likewise.
    """
    numbered = sorted(
        (int(match[1]), path)
        for path in folder.glob("model_*.pth")
        if (match := PERIODIC.fullmatch(path.name))
    )
    removed = [
        path
        for steps, path in numbered[:-max_to_keep]
        if not (keep_every and 0 in (steps % keep_every, (steps + 1) % keep_every))
    ]
    for path in removed:
        path.unlink()
    return removed


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a run's checkpoint, or of its exported weights, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or no checkpoint of a run.
    """
    path = Path(path)
    others = ", ".join(sorted(p.name for p in path.parent.glob("model_*.pth"))) or "none"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no checkpoint {path}; checkpoints in its folder: {others}. Train first, "
            "name another with train.init_checkpoint=PATH, or write one of these into "
            f"{LAST_CHECKPOINT}."
        )
    try:
        if path.suffix == SAFETENSORS:
            return {"model": load_file(path)}
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything on damaged files
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}): it is damaged or no checkpoint. "
            f"Checkpoints in its folder: {others}; to resume from another, write its name into "
            f"{path.parent / LAST_CHECKPOINT}."
        ) from error
    if not isinstance(checkpoint, dict) or "model" not in checkpoint:
        raise ValueError(
            f"{path} is no checkpoint of a run (it has no 'model'). Pretrained weights of a "
            "backbone belong into the backbone's own init_checkpoint."
        )
    return checkpoint


def load_weights(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Load the weights of a run's checkpoint into ``model``, every tensor of it.

    Returns:
        What the file holds besides the weights.

    Raises:
        ValueError: A tensor is missing, unknown or of another shape; the message names the first.
    """
    checkpoint = read_checkpoint(path)
    check_fits(model, checkpoint["model"], Path(path))
    model.load_state_dict(checkpoint.pop("model"))
    return checkpoint


def check_fits(model: nn.Module, state: dict[str, Any], path: Path) -> None:
    """ValueError unless ``state``, read from ``path``, has every tensor of ``model``, no other."""
    problems = mismatches(model.state_dict(), state)
    if problems:
        raise ValueError(
            f"{path} does not fit the model of this config in {len(problems)} tensors: "
            f"{'; '.join(problems[:5])}. Use the config of the run that wrote it "
            f"({path.parent / 'config.yaml'}). If that is this config, the model has changed "
            f"since: tools/lab.py reproduce {path.parent} names the commit that it fits."
        )


def load_start_weights(model: nn.Module, path: str) -> None:
    """Load a run's checkpoint, every tensor of it; one of another program as far as it fits.

    Others are ``.ckpt`` files, which the detector itself reads, and ``.pkl`` files and addresses as
    ``detectron2://...``, which Detectron2 reads; both log what does not fit.

    Raises:
        ValueError: see :func:`load_weights`; or it is a ``.ckpt`` file, and the detector has no
            ``load_pretrained``.
    """
    if Path(path).suffix == LIGHTNING:
        _load_published(model, path)
    elif "://" in path or Path(path).suffix not in (".pth", SAFETENSORS):
        DetectionCheckpointer(model).load(path)
    else:
        load_weights(model, path)


def _load_published(model: Any, path: str) -> None:
    """As if the config had named the file as ``model.init_checkpoint``."""
    if not hasattr(model, "load_pretrained"):
        raise ValueError(
            f"{path} is a published checkpoint of a recurrent detector, and the model a "
            f"{type(model).__name__}, which cannot start from it. Give it to the backbone that it "
            "fits: train.init_checkpoint='' model.backbone.bottom_up.init_checkpoint=PATH."
        )
    model.init_checkpoint = path
    model.load_pretrained()


def mismatches(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Sentences about the names and shapes in which two state dicts differ."""
    rows = [f"{name} is missing" for name in expected.keys() - found.keys()]
    rows += [f"{name} is unknown" for name in found.keys() - expected.keys()]
    rows += [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & found.keys()
        if found[name].shape != expected[name].shape
    ]
    return sorted(rows)
