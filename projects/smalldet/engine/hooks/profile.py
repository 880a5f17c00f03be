"""What the steps of a run spend their time and memory on."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import torch
from detectron2.engine import HookBase
from torch.profiler import ProfilerActivity, profile, tensorboard_trace_handler

logger = logging.getLogger(__name__)
FOLDER = "profile"
TABLE = "top_operations.txt"
_ROWS = 40


def steps_to_profile(text: str) -> range:
    """``"10:20"`` as the steps 10 to 19, counted from 0 as in the log; "" as none.

    Raises:
        ValueError: the text is of another form, or names no step.
    """
    match = re.fullmatch(r"(\d+):(\d+)", text)
    steps = range(int(match[1]), int(match[2])) if match else range(0)
    if text and not steps:
        raise ValueError(
            f'train.profile is "{text}"; it must be of the form first:stop, as 10:20 for the steps '
            "10 to 19 (counted from 0)."
        )
    return steps


class Profile(HookBase):
    """Watches ``steps`` with torch's profiler; writes into ``profile/`` of the run folder.

    ``top_operations.txt`` lists the operations that took longest in all; ``*.pt.trace.json.gz`` is
    the trace for TensorBoard's profile plugin, Perfetto or Chrome. Watched steps are slower than
    others.

    Args:
        steps: Counted from 0.
        run_folder: Of the run.
    """

    def __init__(self, steps: range, run_folder: str | Path) -> None:
        self.steps = steps
        self.folder = Path(run_folder) / FOLDER
        self._profiler: profile | None = None

    def before_step(self) -> None:
        if self._profiler is None and self.trainer.iter in self.steps:
            self._profiler = _profiler(self.folder)
            self._profiler.start()

    def after_step(self) -> None:
        if self.trainer.iter + 1 >= self.steps.stop:
            self._finish()

    def after_train(self) -> None:
        self._finish()

    def _finish(self) -> None:
        if self._profiler is None:
            return
        self._profiler.stop()
        averages = self._profiler.key_averages()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        table = averages.table(sort_by=f"self_{device}_time_total", row_limit=_ROWS)
        (self.folder / TABLE).write_text(table, encoding="utf-8")
        logger.info(f"Profile written to {self.folder}.")
        self._profiler = None
        self.steps = range(0)


def _profiler(folder: Path) -> profile:
    folder.mkdir(parents=True, exist_ok=True)
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    handler = tensorboard_trace_handler(str(folder), worker_name="steps", use_gzip=True)
    return profile(
        activities=activities,
        record_shapes=True,
        profile_memory=True,
        on_trace_ready=handler,
        acc_events=True,
    )
