"""A training process from claiming its run folder to the record of how it ended."""

from __future__ import annotations

import fcntl
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from omegaconf import DictConfig

from labbook.configs import save_config
from labbook.records import RunIsRunningError, finish_record, read_results, start_record
from labbook.resume import check_same_config

LOCK = ".lock"


@contextmanager
def recorded_run(cfg: DictConfig, command: Sequence[str], resume: bool) -> Iterator[Path]:
    """Hold the run folder of ``cfg`` while the block trains; yields the folder.

    Raises:
        FileExistsError: the folder holds a run and ``resume`` is False; nothing was changed.
        ConfigError: on resume, the folder holds a run of another config.
        RunIsRunningError: another process trains in it.
    """
    folder = writable_folder(cfg.train.output_dir)
    with held(folder):
        if resume:
            check_same_config(cfg, folder)
        else:
            refuse_to_start_over(folder)
        start_record(folder, command, cfg.train.seed)
        try:
            with _termination_as_interrupt():
                save_config(cfg, folder)
                yield folder
        except KeyboardInterrupt:
            finish_record(folder, "interrupted", "Interrupted; --resume goes on.")
            raise
        except BaseException as error:
            finish_record(folder, "failed", f"{type(error).__name__}: {sentence_of(error)}")
            raise
        peak = (read_results(folder) or {}).get("peak_memory_mb")
        finish_record(folder, "finished", "All steps done and the best model evaluated.", peak)


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


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the system lets go of it even on kill -9.

    Raises:
        RunIsRunningError: another process of this machine holds it.
    """
    with (folder / LOCK).open("a") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunIsRunningError(
                f"Another process trains in {folder}. Wait for it, stop it, or choose another "
                "train.output_dir."
            ) from error
        yield


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
def _termination_as_interrupt() -> Iterator[None]:
    """A request to end (SIGTERM) leaves through the same door as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
