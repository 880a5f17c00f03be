"""Where metrics go: strict JSON lines, TensorBoard, the terminal, Weights & Biases."""

from __future__ import annotations

import json
import logging
import math
import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from detectron2.utils.events import EventWriter, get_event_storage

from runfolder.files import naming, strict, write_text
from runfolder.names import METRICS

logger = logging.getLogger(__name__)
WINDOW = 20
LOGGED = ("grad_norm", "lr", "time", "data_time", "images_per_second", "memory_mb")
GROUPS = {
    "optimizer": ("lr", "grad_norm"),
    "time": ("time", "data_time", "eta_seconds", "images_per_second"),
    "memory": ("memory_mb",),
}
"""Of scalars in TensorBoard; all others without a group are losses."""


class StrictJSONWriter(EventWriter):
    """Appends one JSON object a step and line to ``path``; NaN and infinity become null.

    Scalars are medians over the last 20 steps where Detectron2 marks them as noisy.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._stream = self._path.open("a")  # for the whole run
        self._last_write = -1

    def write(self) -> None:
        """Append what is new, a line for each step, and flush it to the disk.

        Raises:
            FileNotFoundError: the file was removed or moved; what is written would be lost.
        """
        if not os.path.samestat(self._path.stat(), os.fstat(self._stream.fileno())):
            raise FileNotFoundError(f"{self._path} was replaced while the run wrote to it.")
        with naming(self._path):
            self._append()

    def _append(self) -> None:
        by_step: dict[int, dict[str, Any]] = {}
        for name, (value, step) in fresh_scalars(self._last_write).items():
            by_step.setdefault(step, {"iteration": step})[name] = value
        for step in sorted(by_step):
            self._stream.write(json.dumps(strict(by_step[step]), sort_keys=True) + "\n")
        self._last_write = max([self._last_write, *by_step])
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        self._stream.close()


class LogPrinter(EventWriter):
    """One line in the log: time left, losses, gradient norm, learning rate, speed, memory.

    Args:
        max_iter: steps of the whole run.
    """

    def __init__(self, max_iter: int) -> None:
        self.max_iter = max_iter

    def write(self) -> None:
        """Log the values of the last step; losses are medians over the last 20."""
        storage = get_event_storage()
        scalars = storage.latest_with_smoothing_hint(WINDOW)
        if storage.iter >= self.max_iter or "total_loss" not in scalars:
            return
        parts = [f"iter: {storage.iter}"]
        if "time" in scalars:
            left = storage.history("time").median(1000) * (self.max_iter - storage.iter - 1)
            parts.insert(0, f"eta: {timedelta(seconds=int(left))}")
        losses = [name for name in scalars if "loss" in name and "/" not in name]
        for name in (*losses, *LOGGED):
            if name in scalars:
                parts.append(f"{name}: {scalars[name][0]:.4g}")
        logger.info("  ".join(parts))


class TensorBoardWriter(EventWriter):
    """Sends scalars, under the groups of :func:`grouped`, images and histograms to TensorBoard.

    Scores that are not defined, as those of a class without ground truth, are left out.

    Args:
        folder: Of the event files.
        start_iter: TensorBoard hides what earlier starts have written from this step on.
    """

    def __init__(self, folder: Path, start_iter: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second

        self._events = SummaryWriter(str(folder), purge_step=start_iter)
        self._last_write = -1

    def write(self) -> None:
        """Send what is new, and clear the storage's images, which Detectron2 leaves to a writer."""
        storage = get_event_storage()
        fresh = fresh_scalars(self._last_write)
        for name, (value, step) in fresh.items():
            if math.isfinite(value):
                self._events.add_scalar(grouped(name), value, step)
        self._last_write = max([self._last_write, *(step for _, step in fresh.values())])
        for name, image, step in storage._vis_data:
            self._events.add_image(name, image, step)
        for histogram in storage._histograms:
            self._events.add_histogram_raw(**histogram)
        storage.clear_images()
        storage.clear_histograms()

    def close(self) -> None:
        self._events.close()


def grouped(name: str) -> str:
    """The name of a scalar with the group that TensorBoard is to show it in, as ``time/time``."""
    if "/" in name:
        return name
    group = next((group for group, names in GROUPS.items() if name in names), "loss")
    return f"{group}/{name}"


class WandbWriter(EventWriter):
    """Sends every scalar to Weights & Biases.

    Args:
        run_folder: W&B keeps its files there, and its own number for the run is kept there, too:
            a resume continues the run, and no other run of the same name is taken for it.
        project_name, group_name: What the run is filed under.
        experiment_id: The run's name; "" takes the folder's.
    """

    def __init__(
        self, run_folder: Path, project_name: str, group_name: str, experiment_id: str
    ) -> None:
        wandb = require_wandb()
        number = run_folder / "wandb" / "run_id"
        if not number.is_file():
            write_text(number, uuid.uuid4().hex[:8])
        self._run = wandb.init(
            project=project_name,
            group=group_name or None,
            id=number.read_text(),
            name=experiment_id or run_folder.name,
            dir=str(run_folder),
            resume="allow",
        )
        self._last_write = -1

    def write(self) -> None:
        scalars = fresh_scalars(self._last_write)
        for step in sorted({step for _, step in scalars.values()}):
            values = {name: value for name, (value, s) in scalars.items() if s == step}
            self._run.log(values, step=step)
            self._last_write = step

    def close(self) -> None:
        self._run.finish()


def require_wandb() -> Any:
    """The module wandb; ValueError with a way on where it is not installed."""
    try:
        import wandb  # pyright: ignore[reportMissingImports]  # optional
    except ImportError as error:
        raise ValueError(
            "train.wandb=true needs the package wandb: pip install wandb, or leave it false; "
            "TensorBoard and metrics.json are written anyway."
        ) from error
    return wandb


def fresh_scalars(last_write: int) -> dict[str, tuple[float, int]]:
    """Scalars of the current storage, as {name: (value, step)}, put after step ``last_write``."""
    scalars = get_event_storage().latest_with_smoothing_hint(WINDOW)
    return {name: (value, step) for name, (value, step) in scalars.items() if step > last_write}


def build_writers(settings: Any, start_iter: int) -> list[EventWriter]:
    """The writers of a run, in its folder; steps from ``start_iter`` on replace older ones.

    Args:
        settings: A ``TrainSettings``.
        start_iter: First step of this start.
    """
    folder = Path(settings.output_dir)
    tensorboard = TensorBoardWriter(folder, start_iter)
    metrics = StrictJSONWriter(folder / METRICS)
    writers: list[EventWriter] = [LogPrinter(settings.max_iter), metrics, tensorboard]
    if settings.wandb:
        names = (settings.project_name, settings.group_name, settings.experiment_id)
        writers.append(WandbWriter(folder, *names))
    return writers


def rewind_metrics(path: Path, start_iter: int) -> None:
    """Drop the lines of ``metrics.json`` from step ``start_iter`` on, which will come again.

    A killed run has written metrics after its last checkpoint, the last line perhaps in part.
    """
    if not path.exists():
        return
    lines = path.read_text().splitlines()
    kept = [line for line in lines if _step_of(line) < start_iter]
    if len(kept) < len(lines):
        logger.info(
            f"{path.name}: {len(lines) - len(kept)} of {len(lines)} lines are newer than the "
            "checkpoint (or incomplete) and will be written again."
        )
        write_text(path, "".join(line + "\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["iteration"]
    except (ValueError, KeyError, TypeError):
        return math.inf
