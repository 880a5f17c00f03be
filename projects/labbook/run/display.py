"""What a runner shows: a board on a terminal, else lines and what a run that is alone writes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Protocol

from labbook.run.board import REFRESH_SECONDS, Board, status_of
from labbook.run.console import ConsoleReader
from labbook.run.jobs import Job
from labbook.run.processes import CONSOLE, RunProcess

STARTING = "starting"
"""Until a run says itself what it does."""


class Display(Protocol):
    """How a runner tells what it does; used as a context."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *error: object) -> None: ...

    def say(self, text: str) -> None:
        """A line about the runner itself."""

    def started(self, job: Job, process: RunProcess) -> None:
        """The job has a process now."""

    def ended(self, job: Job, is_finished: bool, text: str) -> None:
        """The job is over in this call."""

    def update(self) -> None:
        """Called many times a second."""


class Lines:
    """Plain lines; ``follow`` also copies what the one run at a time writes."""

    def __init__(self, jobs: Sequence[Job], follow: bool) -> None:
        self._jobs, self._follow = list(jobs), follow
        self._reader: ConsoleReader | None = None

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self.update()

    def say(self, text: str) -> None:
        print(text, flush=True)

    def started(self, job: Job, process: RunProcess) -> None:
        self.say(f"[{self._place(job)}] {job.name}")
        if self._follow:
            self._reader = ConsoleReader(process.console, process.console_start)

    def ended(self, job: Job, is_finished: bool, text: str) -> None:
        self.update()
        self._reader = None
        short = text if is_finished else "not finished; see the end."
        self.say(f"[{self._place(job)}] {job.name}: {short}")

    def update(self) -> None:
        if self._reader is not None:
            sys.stdout.write(self._reader.new_text())
            sys.stdout.flush()

    def _place(self, job: Job) -> str:
        return f"{self._jobs.index(job) + 1}/{len(self._jobs)}"


class JobBoard(Board):
    """The board of a runner's jobs."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__((job.name, job.folder, job.cfg.train.max_iter) for job in jobs)
        self.states = {job.name: "waiting" for job in jobs}
        self._drawn = 0.0

    def __enter__(self) -> JobBoard:
        super().__enter__()
        self.say(f"What a run writes is in {CONSOLE} of its folder.")
        return self

    def draw(self) -> None:
        for line in self.lines:
            if self.states.get(line.name) == STARTING and status_of(line.folder) == "running":
                del self.states[line.name]
        super().draw()

    def started(self, job: Job, process: RunProcess) -> None:
        self.states[job.name] = STARTING

    def ended(self, job: Job, is_finished: bool, text: str) -> None:
        self.states.pop(job.name, None)
        if not is_finished and text.startswith("not started"):
            self.states[job.name] = "not started"

    def update(self) -> None:
        if time.monotonic() - self._drawn >= REFRESH_SECONDS:
            self.draw()
            self._drawn = time.monotonic()


def display_for(jobs: Sequence[Job], slots: int) -> Display:
    """A board for several runs on a terminal, else lines."""
    if sys.stdout.isatty() and len(jobs) > 1:
        return JobBoard(jobs)
    return Lines(jobs, follow=slots == 1)
