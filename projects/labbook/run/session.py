"""A training process from claiming its run folder to the record of how it ended."""

from __future__ import annotations

import logging
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from omegaconf import DictConfig

from labbook.config.load import save_config
from labbook.config.resume import check_same_config
from labbook.run.ledger import make_way, write_entry
from labbook.run.notes import Lineage, find_lineage, write_start_notes, write_summary
from labbook.run.processes import handling
from runfolder.faults import KilledError, named, reason_of, says_killed
from runfolder.files import write_text
from runfolder.locks import lock_run
from runfolder.names import LOCK, LOG
from runfolder.records import (
    RunRecord,
    died_early,
    finish_record,
    has_checkpoint,
    read_record,
    read_results,
    run_status,
    start_record,
)

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def recorded_run(
    cfg: DictConfig,
    command: Sequence[str],
    resume: bool,
    config_file: str | None = None,
    overrides: Sequence[str] | None = None,
    processes: int = 1,
) -> Iterator[Path]:
    """Hold the run folder of ``cfg`` while the block trains; yields the folder.

    A run of another config that died there before its first checkpoint is set aside, which is said.

    Args:
        cfg: what is trained.
        command: the command line of this process.
        resume: whether a run in the folder is gone on with.
        config_file: that the command names; ``cfg`` was loaded from it.
        overrides: ``key=value`` of the command.
        processes: how many train together.

    Raises:
        FileExistsError: the folder holds a run and ``resume`` is False; nothing was changed.
        ConfigError: on resume, the folder holds a run of another config.
        RunIsRunningError: another process trains in it.
    """
    folder = writable_folder(cfg.train.output_dir)
    has_checkpoint(folder, resume)  # before anything is touched
    if died_early(folder) and (moved := make_way(cfg, folder)):
        logger.warning("%s: %s", folder, moved)
        writable_folder(cfg.train.output_dir)
    with lock_run(folder):
        has_checkpoint(folder, resume)  # once more: another process may have held it till now
        if resume:
            check_same_config(cfg, folder)
        seed = cfg.train.get("seed")
        record = start_record(folder, command, seed, config_file, overrides, processes)
        source = Path(config_file) if config_file else None
        lineage = find_lineage(cfg, folder, source, overrides or ())
        with handling(STOP_SIGNALS, _interrupt):
            try:
                save_config(cfg, folder)
                write_entry(cfg, folder)
                write_start_notes(folder, lineage)
                yield folder
                write_entry(cfg, folder)  # the results name the data now
                reason = (read_results(folder) or {}).get("exit_reason")
            except BaseException as error:
                _record_error(folder, error, record, lineage)
                raise
        done = "All steps done and the best model evaluated."
        finish_record(folder, "finished", reason or done, record)
        write_summary(folder, lineage)


@contextmanager
def recorded_loss(folder: Path) -> Iterator[None]:
    """For the other processes of a run: the loss of the one that keeps its record is recorded."""
    try:
        yield
    except KilledError as error:
        record_loss(folder, error)
        raise


def record_loss(folder: Path, error: BaseException) -> None:
    """Record what ends a run in whose place it was not raised: this process keeps the record, or
    the one that kept it is gone."""
    record = read_record(folder)
    if record is None or record.status != "running":
        return
    if record.pid == os.getpid() or run_status(folder) == "interrupted":
        reason = reason_of(error)
        finish_record(folder, "interrupted" if says_killed(reason) else "failed", reason)


def _record_error(folder: Path, error: BaseException, started: RunRecord, lineage: Lineage) -> None:
    """Write what ended a run; where that fails too, the error itself is what is passed on."""
    if isinstance(error, KeyboardInterrupt):
        status, reason = "interrupted", "Interrupted; --resume goes on."
    else:
        reason = reason_of(named(error, folder))
        status = "interrupted" if says_killed(reason) else "failed"
    try:
        if not folder.exists():  # and with it the log
            write_text(folder / LOG, "".join(traceback.format_exception(error)))
        finish_record(folder, status, reason, started)
        write_summary(folder, lineage)
    except (OSError, ValueError) as second:
        logger.warning("How the run ended could not be recorded in %s: %s", folder, second)


def writable_folder(path: str) -> Path:
    """The run folder, made if need be; ValueError where nothing can be written."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).open("a").close()
    except OSError as error:
        raise ValueError(
            f"train.output_dir={path} cannot be written ({error.strerror}). Choose another folder."
        ) from error
    return folder


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Requests to end leave through the same door as Ctrl-C, where training does not hear them."""
    raise KeyboardInterrupt
