"""Run jobs, each in a process of its own, as many at a time as there is room for.

The runner only starts processes and reads run folders: a run that was killed, with or without the
runner, is picked up by the next call of the same command.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labbook.config.resume import check_same_config
from labbook.run.board import status_of
from labbook.run.console import tail
from labbook.run.display import Display, display_for
from labbook.run.gpus import Claim, Gpus
from labbook.run.jobs import Job
from labbook.run.ledger import check_same_data, move_aside, older_code
from labbook.run.processes import Processes, RunProcess, signal_name, train_command
from labbook.run.stopping import Requests, stop_requests
from runfolder.locks import owner_of
from runfolder.provenance import code_version
from runfolder.records import read_record, run_status

LOG_LINES = 20
POLL_SECONDS = 0.1
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
    claim: Claim
    number: int = 1


def run_jobs(
    jobs: Sequence[Job], root: Path, options: RunOptions | None = None
) -> tuple[list[Outcome], bool]:
    """Run jobs; one that fails does not keep the others from running.

    Returns:
        The outcomes so far in the order of ``jobs``, and whether the runner was asked to stop
        before all were done (Ctrl-C, SIGTERM, SIGHUP).
    """
    options = options or RunOptions()
    with stop_requests() as requests, display_for(jobs, options.slots) as display:
        runner = Runner(jobs, root, options, display)
        while runner.has_work() and not requests.count:
            runner.advance()
            time.sleep(POLL_SECONDS)
        stopped = runner.has_work()
        if stopped:
            runner.stop(requests)
    if stopped:
        print(f"Stopped by {requests.first}. The same command goes on from here.", flush=True)
    return [runner.outcomes[job.name] for job in jobs if job.name in runner.outcomes], stopped


def settled(job: Job, root: Path, stale: bool) -> Outcome | None:
    """What there is to say of a job that is not to be run now; None if it is to be run.

    It is not if it is finished, held by another process, or would mix two experiments in a folder.
    With ``stale``, a finished run of older code is moved aside.
    """
    try:
        status = run_status(job.folder)
        if status == "running":
            return Outcome(job.name, False, f"not started: {_holder(job.folder)} runs it there.")
        check_same_config(job.cfg, job.folder)
        if status != "finished":
            return None
        check_same_data(job.cfg, job.folder, root)
        older = older_code(read_record(job.folder), code_version())
    except (ValueError, OSError) as error:
        return Outcome(job.name, False, f"not started: {error}")
    if older and stale:
        print(f"{job.name}: the run of {older} is now {move_aside(job.folder, older)}.")
        return None
    mark = f" by older code ({older}; --stale repeats it)" if older else ""
    return Outcome(job.name, True, f"already finished{mark}, in {job.folder}.")


class Runner:
    """Starts jobs where there is room, and sees to what comes of them."""

    def __init__(
        self, jobs: Sequence[Job], root: Path, options: RunOptions, display: Display
    ) -> None:
        self.root, self.options, self.display = root, options, display
        self.waiting = deque(jobs)
        self.active: list[Attempt] = []
        self.outcomes: dict[str, Outcome] = {}
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

    def stop(self, requests: Requests) -> None:
        """Ask all runs to stop and wait; end them at a second request or after a long time."""
        count = requests.count
        self.display.say("The runs finish their step and save it; once more ends them at once.")
        for attempt in self.active:
            attempt.process.request_stop()
        deadline = time.monotonic() + STOP_SECONDS
        while requests.count == count and time.monotonic() < deadline and self._still_running():
            self.display.update()
            time.sleep(POLL_SECONDS)
        for attempt in self._still_running():
            attempt.process.end()
        for attempt in self.active:
            attempt.claim.release()

    def _still_running(self) -> list[Attempt]:
        return [attempt for attempt in self.active if attempt.process.exit_code() is None]

    def _took_first(self) -> bool:
        """Settle or start the first waiting job; False if it has to wait for a GPU."""
        job = self.waiting[0]
        outcome = settled(job, self.root, self.options.stale)
        if outcome is None:
            claim = self._claim(job)
            if claim is None:
                return False
            outcome = self._start(job, claim)
        self.waiting.popleft()
        if outcome is not None:
            self._over(job, outcome)
        return True

    def _claim(self, job: Job) -> Claim | None:
        if not self.options.gpus.names or job.cfg.train.get("device", "auto") == "cpu":
            return Claim()
        claim = self.options.gpus.claim(self.options.per_run)
        if claim is None and not self.active and not self._said_waiting:
            names = ", ".join(self.options.gpus.names)
            self.display.say(f"Waiting: of GPU {names}, too few are free of other runs.")
            self._said_waiting = True
        return claim

    def _start(self, job: Job, claim: Claim, number: int = 1) -> Outcome | None:
        command = train_command(job.config_file, job.overrides, Processes(self.options.per_run))
        environment = {**claim.environment, **threads(self.options)}
        try:
            process = RunProcess(job.folder, command, self.root, environment, claim.locks)
        except OSError as error:
            claim.release()
            return Outcome(job.name, False, f"not started: {job.folder}: {error.strerror}.")
        self.active.append(Attempt(job, process, claim, number))
        self.display.started(job, process)
        return None

    def _ended(self, attempt: Attempt, code: int) -> None:
        job, number = attempt.job, attempt.number
        outcome = outcome_of(attempt, code)
        if not outcome.is_finished and died(job.folder, code) and number <= self.options.retries:
            self.display.say(f"{job.name} {outcome.message} Trying again ({number}).")
            outcome = self._start(job, attempt.claim, number + 1)
        else:
            attempt.claim.release()
        if outcome is not None:
            self._over(job, outcome)

    def _over(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.name] = outcome
        self.display.ended(job, outcome.is_finished, outcome.message)


def outcome_of(attempt: Attempt, code: int) -> Outcome:
    """What came of an attempt whose process has ended with ``code``."""
    job, process = attempt.job, attempt.process
    status = status_of(job.folder)
    if code == 0 and status == "finished":
        return Outcome(job.name, True, f"finished, in {job.folder}.")
    ending = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with status {code}"
    message = f"did not finish: its process {ending}, its record says '{status}' ({job.folder})."
    log_tail = tail(process.console, process.console_start, LOG_LINES)
    return Outcome(job.name, False, message, log_tail)


def died(folder: Path, code: int) -> bool:
    """Whether a run was killed or broke off without writing how it ended.

    That may go better next time. A run that has written an error would come to it again.
    """
    if code < 0:
        return True
    try:
        record = read_record(folder)
    except ValueError:  # damaged: the next start would not get past it
        return False
    return record is not None and record.status == "running"


def threads(options: RunOptions) -> dict[str, str]:
    """Each process's share of the CPU where several run at a time, unless that is set."""
    together = options.slots * options.per_run
    if together == 1 or "OMP_NUM_THREADS" in os.environ:
        return {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"OMP_NUM_THREADS": str(max(1, (cores or 1) // together))}


def _holder(folder: Path) -> str:
    record = read_record(folder)
    owner = owner_of(folder)
    if owner is not None:
        return str(owner)
    return f"process {record.pid} on {record.host}" if record else "another process"
