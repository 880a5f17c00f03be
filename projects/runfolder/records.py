"""The record that a run leaves in its folder: ``run.json`` and, at the end, ``results.json``.

A trainer calls :func:`start_record` before its first step, :func:`write_results` after its last
evaluation and :func:`finish_record` however it ends. A process that is killed calls nothing more;
:func:`run_status` recognises that by its process number.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from runfolder.checkpoints import periodic_checkpoints
from runfolder.files import read_json, write_json
from runfolder.metrics import measured
from runfolder.names import LAST_CHECKPOINT, LOG, RECORD, RESULTS
from runfolder.patches import save_patch, uncommitted_patch
from runfolder.provenance import devices, environment, own_code, process_start
from runfolder.schema import Code, Devices, check

Status = Literal["new", "running", "interrupted", "failed", "finished"]
DEATHS = ("failed", "interrupted")
ENDS = ("finished", *DEATHS)

_LIVE_SECONDS = 600.0
"""A run on another machine counts as running if it has written to its log in this time."""


class RunIsRunningError(RuntimeError):
    """Another living process holds the run folder."""


@dataclass
class RunRecord:
    """Content of ``run.json``. Times are ISO 8601 in UTC; durations are in seconds."""

    status: Status
    command: list[str]
    start: str
    """Start of the first attempt; resuming keeps it."""
    attempts: int = 1
    attempt_start: str = ""
    end: str | None = None
    seconds: float = 0.0
    """Time in all attempts that reported their end."""
    seed: int | None = None
    config_file: str | None = None
    """That the command names; None if it was not recorded."""
    overrides: list[str] | None = None
    """``key=value`` of the command; None if they were not recorded."""
    exit_reason: str | None = None
    iterations: int | None = None
    """Optimisation steps done."""
    iterations_per_second: float | None = None
    """Of training alone."""
    final_loss: float | None = None
    """Total training loss at the end."""
    peak_memory_mb: float | None = None
    data_fingerprint: str | None = None
    """Checksum of the data set; known when an attempt has ended."""
    data_findings: dict[str, dict[str, int]] | None = None
    """What of the data was left out or changed, counted by split; known of a finished run."""
    host: str = ""
    pid: int = 0
    process_start: str | None = None
    processes: int = 1
    """That train together."""
    micro_batch_size: int | None = None
    """Samples of a forward pass, where memory ran out and they became fewer than the config's."""
    micro_batch_step: int | None = None
    """The step, counted from 0, in which that happened; None with the config's, or unknown."""
    devices: Devices = field(default_factory=Devices)
    """See :func:`runfolder.provenance.devices`."""
    code: Code = field(default_factory=Code)
    """Commit, and under ``patch`` the uncommitted changes (:class:`runfolder.patches.Patch`)."""
    environment: dict[str, Any] = field(default_factory=dict)
    earlier: list[dict[str, Any]] = field(default_factory=list)
    """The attempts before this one: their start, end, command, code and exit reason."""


def start_record(
    folder: str | Path,
    command: Sequence[str],
    seed: int | None = None,
    config_file: str | None = None,
    overrides: Sequence[str] | None = None,
    processes: int = 1,
) -> RunRecord:
    """Write ``run.json`` of a run that starts or resumes now, in this process.

    The uncommitted changes of the code are written beside it, as ``code.patch``. The arguments are
    those of :class:`RunRecord`.

    Raises:
        RunIsRunningError: another process is running in this folder.
    """
    folder = Path(folder)
    before = read_record(folder)
    if before is not None and run_status(folder) == "running" and not _is_mine(before):
        raise RunIsRunningError(
            f"Process {before.pid} on {before.host} is already running in {folder}. Wait for it, "
            "stop it, or give train.output_dir another folder."
        )
    now, patch = _now(), uncommitted_patch()
    record = RunRecord(
        status="running",
        command=list(command),
        start=before.start if before else now,
        attempts=before.attempts + 1 if before else 1,
        attempt_start=now,
        seconds=before.seconds if before else 0.0,
        seed=seed,
        config_file=config_file,
        overrides=None if overrides is None else list(overrides),
        host=socket.gethostname(),
        pid=os.getpid(),
        process_start=process_start(os.getpid()),
        processes=processes,
        micro_batch_size=before.micro_batch_size if before else None,
        micro_batch_step=before.micro_batch_step if before else None,
        devices=devices(),
        code={**own_code(), "patch": patch.describe() if patch else None},
        environment=environment(),
        earlier=[*before.earlier, _as_earlier(before)] if before else [],
    )
    save_patch(folder, patch)
    _write(folder, record)
    return record


def finish_record(
    folder: str | Path, status: str, exit_reason: str, started: RunRecord | None = None
) -> RunRecord:
    """Write how a run ended.

    Args:
        folder: the run folder; :func:`start_record` was called on it.
        status: ``finished``, ``failed`` or ``interrupted``.
        exit_reason: a sentence, as the error that ended the run.
        started: what :func:`start_record` returned, for a folder that is gone: it is made again.
    """
    record = read_record(folder) or started
    if record is None or status not in ENDS:
        raise ValueError(
            f"Cannot end the run in {folder} as '{status}': expected a started run "
            f"and one of {', '.join(ENDS)}."
        )
    end = _now()
    record = dataclasses.replace(
        record,
        status=status,
        exit_reason=exit_reason,
        end=end,
        seconds=record.seconds + _seconds_between(record.attempt_start, end),
        **measured(Path(folder), is_finished=status == "finished"),
    )
    _write(Path(folder), record)
    return record


def note_micro_batch(folder: str | Path, size: int | None, step: int) -> None:
    """Write what micro-batch the run uses into its record, if it has one.

    Args:
        folder: the run folder.
        size: None: that of its config.
        step: the first with it, counted from 0.
    """
    record = read_record(folder)
    if record is not None and record.micro_batch_size != size:
        since = None if size is None else step
        changed = dataclasses.replace(record, micro_batch_size=size, micro_batch_step=since)
        _write(Path(folder), changed)


def write_results(folder: str | Path, results: Mapping[str, Any]) -> None:
    """Write ``results.json``; NaN becomes null."""
    write_json(Path(folder) / RESULTS, results)


def read_results(folder: str | Path) -> dict[str, Any] | None:
    """Content of ``results.json``; None before the end of a run."""
    return read_json(Path(folder) / RESULTS)


def read_record(folder: str | Path) -> RunRecord | None:
    """Content of ``run.json``; None if the run never started.

    Raises:
        ValueError: the file is not a run record.
    """
    path = Path(folder) / RECORD
    content = read_json(path)
    if content is None:
        return None
    known = {item.name for item in dataclasses.fields(RunRecord)}
    try:
        record = RunRecord(**{key: value for key, value in content.items() if key in known})
    except TypeError as error:
        raise ValueError(f"{path} is no run record: {error}.") from error
    check(content, RunRecord, str(path))
    return record


def has_checkpoint(folder: str | Path, resume: bool) -> bool:
    """Whether ``folder`` holds a checkpoint to resume from.

    Raises:
        FileExistsError: it does, and ``resume`` is False.
    """
    found = (Path(folder) / LAST_CHECKPOINT).exists() or bool(periodic_checkpoints(Path(folder)))
    if found and not resume:
        raise FileExistsError(
            f"{folder} holds a run already. Continue it with --resume, or choose another folder "
            "with train.output_dir=...; nothing was changed."
        )
    return found


def died_early(folder: str | Path) -> bool:
    """Whether ``folder`` holds a run that ended before its first checkpoint, so nothing to keep.

    Raises:
        ValueError: its record is damaged.
    """
    return not has_checkpoint(folder, resume=True) and run_status(folder) in DEATHS


def run_status(folder: str | Path) -> Status:
    """What has become of the run in ``folder``.

    A run that says it is running but whose process has gone was interrupted. On another machine
    the process cannot be asked, so the age of ``log.txt`` decides.
    """
    record = read_record(folder)
    if record is None:
        return "new"
    if record.status != "running":
        return record.status
    if record.host == socket.gethostname():
        started = process_start(record.pid)
        alive = started is not None and started == record.process_start
    else:
        alive = _age(Path(folder) / LOG) < _LIVE_SECONDS
    return "running" if alive else "interrupted"


def _as_earlier(record: RunRecord) -> dict[str, Any]:
    """What is kept of an attempt that is over, one way or the other."""
    return {
        "start": record.attempt_start,
        "end": record.end,
        "command": record.command,
        "code": record.code,
        "exit_reason": record.exit_reason or "Its process was killed.",
    }


def _is_mine(record: RunRecord) -> bool:
    return record.host == socket.gethostname() and record.pid == os.getpid()


def _write(folder: Path, record: RunRecord) -> None:
    write_json(folder / RECORD, dataclasses.asdict(record))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _age(path: Path) -> float:
    """Seconds since the file was written; infinite if it is not there."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
