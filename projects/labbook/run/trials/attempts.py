"""Jobs that are run to see how they go, several at a time, each for as long as it may take."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from labbook.run.jobs import Job
from labbook.run.processes import POLL_SECONDS, RunProcess
from runfolder.records import run_status


class Trial(NamedTuple):
    """How a job with a time limit went."""

    name: str
    is_ok: bool
    text: str
    """The last line that it wrote; the error's sentence if it failed."""
    seconds: float = 0.0


def try_job(job: Job, root: Path, limit: float) -> Trial:
    """Run a job and wait for its end; what its folder holds is removed before.

    After ``limit`` seconds it is ended and counts as failed.
    """
    return next(try_jobs([job], root, limit))


def try_jobs(
    jobs: Iterable[Job],
    root: Path,
    limit: float,
    at_a_time: int = 1,
    run: type[RunProcess] = RunProcess,
) -> Iterator[Trial]:
    """Run jobs as :func:`try_job` does, several at a time; what became of each, in their order.

    Where the caller breaks off, those that run are ended.
    """
    jobs = list(jobs)
    waiting, running, over = deque(jobs), {}, {}
    try:
        for job in jobs:
            while job.name not in over:
                while waiting and len(running) < at_a_time:
                    started = waiting.popleft()
                    running[started.name] = _Attempt(started, root, run)
                ended = {name: trial for name, one in running.items() if (trial := one.end(limit))}
                over |= ended
                running = {name: one for name, one in running.items() if name not in ended}
                time.sleep(0 if ended else POLL_SECONDS)
            yield over[job.name]
    finally:
        for one in running.values():
            one.process.end()


class _Attempt:
    """A job that was started with a time limit."""

    def __init__(self, job: Job, root: Path, run: type[RunProcess]) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)
        self.job, self._start = job, time.monotonic()
        self.process = run(job.folder, job.command(), root)

    def end(self, limit: float) -> Trial | None:
        """How it went; None while it runs and has time."""
        seconds, code = time.monotonic() - self._start, self.process.exit_code()
        if code is None and seconds < limit:
            return None
        is_ok = code == 0 and run_status(self.job.folder) == "finished"
        text = self.process.tail(lines=1) or "It ended without a word."
        if code is None:
            text = f"It did not end within {limit:.0f} s."
        self.process.end()
        return Trial(self.job.name, is_ok, text, seconds)
