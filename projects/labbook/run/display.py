"""What a person sees of runs: a board on a terminal, else lines and what a lone run writes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

from rich.live import Live
from rich.table import Table

from labbook.run.jobs import Job
from labbook.run.processes import RunProcess
from runfolder.metrics import read_metrics
from runfolder.names import AP50, CONSOLE, METRICS, TOTAL_LOSS
from runfolder.records import run_status

COLUMNS = ("run", "state", "step", "loss", "best AP50", "time left")
STYLES = {"running": "cyan", "finished": "green", "failed": "red", "interrupted": "yellow"}
REFRESH_SECONDS = 1.0
WAITING, STARTING, NOT_STARTED = "waiting", "starting", "not started"
"""States that a runner knows and a run folder does not tell."""


@dataclass(frozen=True)
class Progress:
    """How far a run is; None where its metrics do not say."""

    step: int | None = None
    """Last step that was written, counted from 1."""
    loss: float | None = None
    ap50: float | None = None
    """Best so far on valid, in percent."""
    seconds_per_step: float | None = None

    def seconds_left(self, max_iter: int | None) -> float | None:
        """Time of the steps to come, without that of evaluations."""
        if max_iter is None or self.step is None or self.seconds_per_step is None:
            return None
        return self.seconds_per_step * (max_iter - self.step)


def progress_of(folder: Path) -> Progress:
    """What ``metrics.json`` says by now."""
    try:
        found = (folder / METRICS).stat()
    except OSError:
        return Progress()
    return _progress(folder, (found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=1024)  # a board asks every second, and a run writes more seldom
def _progress(folder: Path, version: tuple[int, ...]) -> Progress:
    columns: dict[str, list[float]] = {}
    for row in read_metrics(folder):
        for key in ("iteration", TOTAL_LOSS, AP50, "time"):
            if row.get(key) is not None:
                columns.setdefault(key, []).append(row[key])
    last = {key: values[-1] for key, values in columns.items()}
    step = int(last["iteration"]) + 1 if "iteration" in last else None
    ap50 = max(columns.get(AP50, []), default=None)
    return Progress(step, last.get(TOTAL_LOSS), ap50, last.get("time"))


class Board:
    """A table of runs with their state and progress, drawn again while the block goes on.

    Args:
        runs: (name, run folder, optimisation steps or None where not known) of each.
        states: what to show instead of the status in the run folder, by name.
    """

    def __init__(
        self, runs: Iterable[tuple[str, Path, int | None]], states: dict[str, str] | None = None
    ) -> None:
        self.runs = list(runs)
        self.states = states or {}
        self._live = Live(auto_refresh=False)
        self._drawn = 0.0

    def __enter__(self) -> Board:
        self._live.__enter__()
        self.draw()
        return self

    def __exit__(self, *error: object) -> None:
        self.draw()
        self._live.stop()

    def draw(self) -> None:
        """Read the run folders and draw."""
        self._live.update(self.table(), refresh=True)
        self._drawn = time.monotonic()

    def table(self) -> Table:
        """The runs as their folders are now."""
        table = Table(*COLUMNS, box=None)
        for name, folder, max_iter in self.runs:
            status = status_of(folder)
            if self.states.get(name) == STARTING and status == "running":
                del self.states[name]
            state = self.states.get(name, status)
            cells = row(progress_of(folder), max_iter, state == "running")
            table.add_row(name, state, *cells, style=STYLES.get(state))
        return table

    def say(self, text: str) -> None:
        """Print a line above the board."""
        self._live.console.print(text, markup=False, highlight=False)

    def started(self, job: Job, process: RunProcess) -> None:
        """The job has a process now."""
        self.states[job.name] = STARTING

    def ended(self, job: Job, is_finished: bool, text: str) -> None:
        """The job is over in this call."""
        self.states.pop(job.name, None)
        if not is_finished and text.startswith(NOT_STARTED):
            self.states[job.name] = NOT_STARTED

    def update(self) -> None:
        """Called many times a second."""
        if time.monotonic() - self._drawn >= REFRESH_SECONDS:
            self.draw()


class Lines:
    """The same for a pipe: plain lines; ``follow`` copies what the one run at a time writes."""

    def __init__(self, jobs: Sequence[Job], follow: bool) -> None:
        self._places = {job.name: f"[{n}/{len(jobs)}] {job.name}" for n, job in enumerate(jobs, 1)}
        self._follow = follow
        self._process: RunProcess | None = None

    def say(self, text: str) -> None:
        print(text, flush=True)

    def started(self, job: Job, process: RunProcess) -> None:
        self.say(self._places[job.name])
        self._process = process if self._follow else None

    def ended(self, job: Job, is_finished: bool, text: str) -> None:
        self.update()
        self._process = None
        short = text if is_finished else "not finished; see the end."
        self.say(f"{self._places[job.name]}: {short}")

    def update(self) -> None:
        if self._process is not None:
            sys.stdout.write(self._process.new_output())
            sys.stdout.flush()


Display = Board | Lines


@contextlib.contextmanager
def display_for(jobs: Sequence[Job], slots: int) -> Iterator[Display]:
    """A board for several runs on a terminal, else lines."""
    if sys.stdout.isatty() and len(jobs) > 1:
        runs = [(job.name, job.folder, job.cfg.train.get("max_iter")) for job in jobs]
        with Board(runs, {job.name: WAITING for job in jobs}) as board:
            board.say(f"What a run writes is in {CONSOLE} of its folder.")
            yield board
        return
    lines = Lines(jobs, follow=slots == 1)
    try:
        yield lines
    finally:
        lines.update()


def row(progress: Progress, max_iter: int | None, is_running: bool) -> list[str]:
    """Step, loss, best score and time left as text; what is not known yet is a dash."""
    step = "-" if progress.step is None else f"{progress.step:,}"
    left = progress.seconds_left(max_iter) if is_running else None
    return [
        step if max_iter is None else f"{step} / {max_iter:,}",
        "-" if progress.loss is None else f"{progress.loss:.3f}",
        "-" if progress.ap50 is None else f"{progress.ap50:.1f}",
        "-" if left is None else str(timedelta(seconds=round(left))),
    ]


def status_of(folder: Path) -> str:
    """The run's status, or that its record is damaged; a board goes on."""
    try:
        return run_status(folder)
    except ValueError:
        return "damaged"
