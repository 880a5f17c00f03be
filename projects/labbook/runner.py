"""Run the experiments of a study one after the other, each in its own process.

The runner only starts processes and reads run folders: a run that was killed, with or without the
runner, is picked up by the next call of the same command.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from omegaconf import DictConfig

from labbook.configs import ConfigError, load_config
from labbook.console import follow, tail
from labbook.records import read_record, run_status
from labbook.resume import check_same_config

logger = logging.getLogger(__name__)

TRAIN_SCRIPT = "tools/lazyconfig_train_net.py"  # below the project's root folder
LOG_LINES = 20
STOP_SECONDS = 60.0
"""Time that a run gets to write down how it ended when it is asked to stop."""


@dataclass(frozen=True)
class Job:
    """One experiment, ready to run."""

    name: str
    config_file: Path
    folder: Path
    cfg: DictConfig


@dataclass(frozen=True)
class Outcome:
    """What came of a job in this call."""

    name: str
    is_finished: bool
    message: str
    log_tail: str = ""


class Stopped(Exception):
    """The runner was asked to stop."""


def plan_jobs(
    experiments: Mapping[str, Path], root: Path, overrides: Sequence[str] = ()
) -> list[Job]:
    """Load every config and find its run folder, before anything is started.

    Raises:
        ConfigError: a config or an override is wrong, or two experiments share a run folder.
    """
    jobs: list[Job] = []
    for name, config_file in experiments.items():
        cfg = load_config(root / config_file, overrides)
        folder = root / cfg.train.output_dir
        for other in jobs:
            if other.folder == folder:
                raise ConfigError(
                    f"{other.name} and {name} have the same train.output_dir, {folder}. Give it "
                    "for one experiment at a time."
                )
        jobs.append(Job(name, config_file, folder, cfg))
    return jobs


def run_jobs(
    jobs: Sequence[Job],
    root: Path,
    overrides: Sequence[str],
) -> tuple[list[Outcome], bool]:
    """Run jobs in order; a job that fails does not keep the others from running.

    Returns:
        The outcomes so far, and whether the runner was stopped (Ctrl-C, SIGTERM, SIGHUP).
    """
    outcomes: list[Outcome] = []
    try:
        with _signals_as_stop():
            for number, job in enumerate(jobs, 1):
                print(f"[{number}/{len(jobs)}] {job.name}", flush=True)
                outcome = run_job(job, root, overrides)
                short = outcome.message if outcome.is_finished else "not finished; see the end."
                print(f"[{number}/{len(jobs)}] {job.name}: {short}", flush=True)
                outcomes.append(outcome)
    except Stopped as stop:
        print(f"Stopped by {stop}. The same command goes on from here.", flush=True)
        return outcomes, True
    return outcomes, False


def run_job(job: Job, root: Path, overrides: Sequence[str]) -> Outcome:
    """Run one job unless it is finished, held by another process, or would mix two configs."""
    try:
        status = run_status(job.folder)
        if status == "running":
            record = read_record(job.folder)
            owner = f"process {record.pid} on {record.host}" if record else "another process"
            return Outcome(job.name, False, f"not started: {owner} runs it in {job.folder}.")
        check_same_config(job.cfg, job.folder)
    except ValueError as error:
        return Outcome(job.name, False, f"not started: {error}")
    if status == "finished":
        return Outcome(job.name, True, f"already finished, in {job.folder}.")
    return _train(job, root, overrides)


def _train(job: Job, root: Path, overrides: Sequence[str]) -> Outcome:
    command = [sys.executable, TRAIN_SCRIPT, "--config-file", str(job.config_file), "--resume"]
    console = job.folder / "console.txt"
    job.folder.mkdir(parents=True, exist_ok=True)
    with console.open("ab") as out:
        out.write(f"$ {' '.join([*command, *overrides])}\n".encode())
        out.flush()
        start = out.tell()
        # The run writes to the file itself, in a session of its own: it outlives a killed runner.
        process = subprocess.Popen(
            [*command, *overrides],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        follow(process, console, start)
    except Stopped:
        _stop(process, console)
        raise
    return _outcome(job, process.returncode, tail(console, start, LOG_LINES))


def _outcome(job: Job, code: int, log_tail: str) -> Outcome:
    status = run_status(job.folder)
    if code == 0 and status == "finished":
        return Outcome(job.name, True, f"finished, in {job.folder}.")
    ending = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with status {code}"
    message = f"did not finish: its process {ending}, its record says '{status}' ({job.folder})."
    return Outcome(job.name, False, message, log_tail)


def _stop(process: subprocess.Popen[bytes], console: Path) -> None:
    """Ask a run to stop; end it if it does not, or at a second request."""
    print("Stopping the run; once more ends it at once.", flush=True)
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            _signal(process, number)
            if follow(process, console, console.stat().st_size, seconds=STOP_SECONDS):
                return
    except Stopped:
        pass
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a run and its own children."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        logger.debug("the run has ended before signal %d", number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextmanager
def _signals_as_stop() -> Iterator[None]:
    """Turn Ctrl-C and requests to end into :class:`Stopped`, except where they are ignored."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(_signal_name(number))

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] != signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
