"""What a person sees of runs: a board on a terminal, else lines and what a lone run writes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

from rich.live import Live
from rich.table import Table

from labbook.results.text import number
from labbook.run.jobs import Job
from labbook.run.processes import RunProcess
from runfolder.metrics import read_metrics
from runfolder.names import AP50, CONSOLE, METRICS, TOTAL_LOSS
from runfolder.records import run_status

COLUMNS = ("run", "state", "step", "loss", "best AP50", "time left")
STYLES = {"running": "cyan", "finished": "green", "failed": "red", "interrupted": "yellow"}
REFRESH_SECONDS = 1.0
_FOREVER = 1e9  # seconds
WAITING, STARTING, NOT_STARTED = "waiting", "starting", "not started"
"""States that a runner knows and a run folder does not tell."""


def progress_of(folder: Path, max_iter: int | None = None, is_running: bool = True) -> list[str]:
    """Step, loss, best AP50 on valid and time left, by what ``metrics.json`` says by now.

    Args:
        folder: the run folder.
        max_iter: optimisation steps of the whole run; None where not known.
        is_running: whether there is time left, which is that of steps without evaluations.

    Returns:
        Four texts; a dash stands for what is not known yet.
    """
    try:
        found = (folder / METRICS).stat()
    except OSError:
        return ["-"] * 4
    last, ap50 = _progress(folder, (found.st_ino, found.st_size, found.st_mtime_ns))
    step = int(last["iteration"]) + 1 if "iteration" in last else None
    cells = ["-" if step is None else f"{step:,}", number(last.get(TOTAL_LOSS), "{:.3f}")]
    cells += [number(ap50, "{:.1f}"), "-"]
    if max_iter is not None:
        cells[0] += f" / {max_iter:,}"
        if is_running and step is not None and "time" in last:
            left = last["time"] * (max_iter - step)
            cells[3] = str(timedelta(seconds=round(left))) if 0 <= left < _FOREVER else "-"
    return cells


@lru_cache(maxsize=1024)  # a board asks every second, and a run writes more seldom
def _progress(folder: Path, version: tuple[int, ...]) -> tuple[dict[str, float], float | None]:
    """The last value of each metric, and the best AP50."""
    known = [{k: v for k, v in row.items() if v is not None} for row in read_metrics(folder)]
    last = {key: value for row in known for key, value in row.items()}
    return last, max((row[AP50] for row in known if AP50 in row), default=None)


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
            cells = progress_of(folder, max_iter, state == "running")
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


def status_of(folder: Path) -> str:
    """The run's status, or that its record is damaged; a board goes on."""
    try:
        return run_status(folder)
    except ValueError:
        return "damaged"
