"""Run jobs, each in a process of its own, as many at a time as there is room for.

The runner only starts processes and reads run folders: a run that was killed, with or without the
runner, is picked up by the next call of the same command.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from labbook.run.display import NOT_STARTED, Display, display_for, status_of
from labbook.run.gpus import GpuLease, Gpus
from labbook.run.jobs import Job
from labbook.run.ledger import check_same_data, make_way, move_aside, older_code
from labbook.run.processes import POLL_SECONDS, Processes, RunProcess, handling, signal_name
from runfolder.faults import has_room, says_killed
from runfolder.locks import holder_of
from runfolder.provenance import code_version
from runfolder.records import RunIsRunningError, read_record, run_status

LOG_LINES = 20
STOP_SECONDS = 900.0
"""Time that runs get to finish a step (or an evaluation) and to save, when asked to stop."""


@dataclass(frozen=True)
class RunOptions:
    """How jobs are run."""

    slots: int = 1
    """Runs at a time."""
    retries: int = 1
    """How often a run is started again, in one call, that was killed or died without a word."""
    stale: bool = False
    """Repeat finished runs of older code; what there is of them is moved aside."""
    per_run: int = 1
    """Processes of each run, each with a GPU of its own if there are GPUs."""
    gpus: Gpus = field(default_factory=Gpus)

    def threads(self) -> dict[str, str]:
        """Each process's share of the CPU where several run at a time, unless that is set."""
        together = self.slots * self.per_run
        if together == 1 or "OMP_NUM_THREADS" in os.environ:
            return {}
        has_affinity = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
        return {"OMP_NUM_THREADS": str(max(1, cores // together))}


@dataclass(frozen=True)
class Outcome:
    """What came of a job in this call."""

    name: str
    is_finished: bool
    message: str
    log_tail: str = ""


@dataclass
class Attempt:
    """A job that runs just now."""

    job: Job
    process: RunProcess
    lease: GpuLease
    number: int = 1


def run_jobs(jobs: Sequence[Job], root: Path, options: RunOptions) -> tuple[list[Outcome], bool]:
    """Run jobs; one that fails does not keep the others from running.

    Returns:
        The outcomes so far in the order of ``jobs``, and whether the runner was asked to stop
        before all were done (Ctrl-C, SIGTERM, SIGHUP).
    """
    requests: list[str] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def note(number: int, frame: FrameType | None) -> None:
        requests.append(signal_name(number))

    with handling(numbers, note), display_for(jobs, options.slots) as display:
        runner = Runner(jobs, root, options, display)
        while runner.has_work() and not requests:
            runner.advance()
            time.sleep(POLL_SECONDS)
        stopped = runner.has_work()
        if stopped:
            runner.stop(requests)
    if stopped:
        print(f"Stopped by {requests[0]}. The same command goes on from here.", flush=True)
    return [runner.outcomes[job.name] for job in jobs if job.name in runner.outcomes], stopped


def skip_reason(job: Job, root: Path, stale: bool) -> Outcome | None:
    """What there is to say of a job that is not to be run now; None if it is to be run.

    It is not if it is finished, held by another process, or would mix two experiments in a folder.
    With ``stale``, a finished run of older code is moved aside; so is what :func:`make_way` finds.
    """
    try:
        if holder := holder_of(job.folder):
            return Outcome(job.name, False, f"{NOT_STARTED}: {holder} runs it there.")
        if moved := make_way(job.cfg, job.folder):
            print(f"{job.name}: {moved}")
            return None
        if run_status(job.folder) != "finished":
            return None
        check_same_data(job.cfg, job.folder, root)
        older = older_code(read_record(job.folder), code_version())
    except (ValueError, OSError, RunIsRunningError) as error:
        return Outcome(job.name, False, f"{NOT_STARTED}: {error}")
    if older and stale:
        print(f"{job.name}: the run of {older} is now {move_aside(job.folder, older)}.")
        return None
    mark = f" by older code ({older}; --stale repeats it)" if older else ""
    return Outcome(job.name, True, f"already finished{mark}, in {job.folder}.")


def was_killed(folder: Path, code: int) -> bool:
    """Whether a run was killed, in whole or in part, or broke off without writing how it ended.

    That may go better next time. A run that has written an error would come to it again, and so
    would one that had no room to write it. ``code`` is the exit status of its process, negative for
    the signal that killed it.
    """
    if code < 0:
        return True
    try:
        record = read_record(folder)
    except ValueError:  # damaged: the next start would not get past it
        return False
    if record is None or not has_room(folder):
        return False
    return record.status == "running" or says_killed(record.exit_reason)


class Runner:
    """Starts jobs where there is room, and sees to what comes of them."""

    def __init__(
        self, jobs: Sequence[Job], root: Path, options: RunOptions, display: Display
    ) -> None:
        self.root, self.options, self.display = root, options, display
        self.waiting = deque(jobs)
        self.active: list[Attempt] = []
        self.outcomes: dict[str, Outcome] = {}
        self._taken: dict[str, str] = {}
        self._said_waiting = False

    def has_work(self) -> bool:
        """Whether a job is running or waiting."""
        return bool(self.waiting or self.active)

    def advance(self) -> None:
        """Look once at everything that runs, and start what fits."""
        self.display.update()
        for attempt in list(self.active):
            code = attempt.process.exit_code()
            if code is not None:
                self.active.remove(attempt)
                self._ended(attempt, code)
        while self.waiting and len(self.active) < self.options.slots:
            if not self._took_first():
                break

    def stop(self, requests: Sequence[str]) -> None:
        """Ask all runs to stop and wait; end them at a second request or after a long time."""
        count = len(requests)
        self.display.say("The runs finish their step and save it; once more ends them at once.")
        for attempt in self.active:
            attempt.process.request_stop()
        deadline = time.monotonic() + STOP_SECONDS
        while len(requests) == count and time.monotonic() < deadline and self._is_running():
            self.display.update()
            time.sleep(POLL_SECONDS)
        for attempt in self.active:
            attempt.process.end()
            attempt.lease.release()

    def _is_running(self) -> bool:
        return any(attempt.process.exit_code() is None for attempt in self.active)

    def _took_first(self) -> bool:
        """Skip or start the first waiting job; False if it has to wait."""
        job = self.waiting[0]
        if self._is_taken(job):
            self.waiting.rotate(-1)
            return False
        outcome = self._failed_there(job) or skip_reason(job, self.root, self.options.stale)
        if outcome is not None:
            self._over(job, outcome)
        else:
            lease = self._lease(job)
            if lease is None:
                return False
            self._start(job, lease)
        self.waiting.popleft()
        return True

    def _is_taken(self, job: Job) -> bool:
        """Whether another process runs it: that is waited for, neither repeated nor given up."""
        try:
            holder = holder_of(job.folder)
        except (ValueError, OSError):
            return False  # which is the reason to skip it
        if holder and holder != self._taken.get(job.name):
            self.display.say(f"{job.name} is taken: {holder} runs it. Waiting for its end.")
            self._taken[job.name] = holder
        return holder is not None

    def _failed_there(self, job: Job) -> Outcome | None:
        """That a taken job came to an error, to which it would come again; else None."""
        if job.name not in self._taken or status_of(job.folder) != "failed":
            return None
        return Outcome(job.name, False, f"failed, run by {self._taken[job.name]} ({job.folder}).")

    def _lease(self, job: Job) -> GpuLease | None:
        if not self.options.gpus.names or job.is_on_cpu:
            return GpuLease()
        lease = self.options.gpus.lease(self.options.per_run)
        if lease is None and not self.active and not self._said_waiting:
            gpus = ", ".join(self.options.gpus.names)
            self.display.say(f"Waiting: of GPU {gpus}, too few are free of other runs.")
            self._said_waiting = True
        return lease

    def _start(self, job: Job, lease: GpuLease, number: int = 1) -> None:
        command = job.command(Processes(self.options.per_run))
        environment = {**lease.environment, **self.options.threads()}
        try:
            process = RunProcess(job.folder, command, self.root, environment, lease.locks)
        except OSError as error:
            lease.release()
            message = f"{NOT_STARTED}: {job.folder}: {error.strerror}."
            self._over(job, Outcome(job.name, False, message))
            return
        self.active.append(Attempt(job, process, lease, number))
        self.display.started(job, process)

    def _ended(self, attempt: Attempt, code: int) -> None:
        job, number, outcome = attempt.job, attempt.number, outcome_of(attempt, code)
        may_retry = not outcome.is_finished and number <= self.options.retries
        if code != 0 and self._came_second(job):
            attempt.lease.release()
            self.waiting.append(job)
        elif may_retry and was_killed(job.folder, code):
            self.display.say(f"{job.name} {outcome.message} Trying again ({number}).")
            self._start(job, attempt.lease, number + 1)
        else:
            attempt.lease.release()
            self._over(job, outcome)

    def _came_second(self, job: Job) -> bool:
        """Whether another process, started at about the same time, has the run folder, or had it.

        The next look at the job says whose it is, or that it is finished.
        """
        try:
            return holder_of(job.folder) is not None or run_status(job.folder) == "finished"
        except (ValueError, OSError):
            return False

    def _over(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.name] = outcome
        self.display.ended(job, outcome.is_finished, outcome.message)


def outcome_of(attempt: Attempt, code: int) -> Outcome:
    """What came of an attempt whose process has ended with ``code``."""
    job, status = attempt.job, status_of(attempt.job.folder)
    if code == 0 and status == "finished":
        return Outcome(job.name, True, f"finished, in {job.folder}.")
    ending = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with status {code}"
    said = f"'{status}'{_reason_in(job.folder)}"
    message = f"did not finish: its process {ending}, its record says {said} ({job.folder})."
    return Outcome(job.name, False, message, attempt.process.tail(LOG_LINES))


def _reason_in(folder: Path) -> str:
    try:
        record = read_record(folder)
    except ValueError:
        return ""
    return f": {record.exit_reason}" if record and record.exit_reason else ""
