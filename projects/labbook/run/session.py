"""A training process from claiming its run folder to the record of how it ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from omegaconf import DictConfig

from labbook.config.load import save_config
from labbook.config.resume import check_same_config
from labbook.notes.start import write_start_notes
from labbook.notes.summary import write_summary
from labbook.run.ledger import write_entry
from runfolder.locks import LOCK, held
from runfolder.records import finish_record, read_results, start_record

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def recorded_run(cfg: DictConfig, command: Sequence[str], resume: bool) -> Iterator[Path]:
    """Hold the run folder of ``cfg`` while the block trains; yields the folder.

    Raises:
        FileExistsError: the folder holds a run and ``resume`` is False; nothing was changed.
        ConfigError: on resume, the folder holds a run of another config.
        RunIsRunningError: another process trains in it.
    """
    folder = writable_folder(cfg.train.output_dir)
    if not resume:
        refuse_to_start_over(folder)
    with held(folder):
        if resume:
            check_same_config(cfg, folder)
        else:
            refuse_to_start_over(folder)  # once more: another process may have held it till now
        start_record(folder, command, cfg.train.seed)
        try:
            with _requests_as_interrupt():
                save_config(cfg, folder)
                write_entry(cfg, folder)
                write_start_notes(folder)
                yield folder
                write_entry(cfg, folder)  # the results name the data now
        except KeyboardInterrupt:
            _end(folder, "interrupted", "Interrupted; --resume goes on.")
            raise
        except BaseException as error:
            _end(folder, "failed", f"{type(error).__name__}: {sentence_of(error)}")
            raise
        reason = (read_results(folder) or {}).get("exit_reason")
        _end(folder, "finished", reason or "All steps done and the best model evaluated.")


def _end(folder: Path, status: str, reason: str) -> None:
    finish_record(folder, status, reason)
    write_summary(folder)


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


def refuse_to_start_over(folder: Path) -> None:
    """Raise FileExistsError if ``folder`` holds a checkpoint of an earlier run."""
    if (folder / "last_checkpoint").exists():
        raise FileExistsError(
            f"{folder} holds a run already. Continue it with --resume, or choose another folder "
            "with train.output_dir=...; nothing was changed."
        )


def sentence_of(error: BaseException) -> str:
    """The message of an error, without the traceback that a data-loading process puts before it."""
    return str(error).rsplit(f"{type(error).__name__}: ", 1)[-1].strip()


@contextmanager
def _requests_as_interrupt() -> Iterator[None]:
    """Requests to end leave through the same door as Ctrl-C, where training does not hear them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
