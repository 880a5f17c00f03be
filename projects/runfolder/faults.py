"""What broke a run off, in a sentence: a full disk, a folder that is gone, a killed process."""

from __future__ import annotations

import errno
import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path

from runfolder.checkpoints import last_checkpoint
from runfolder.checksums import DamagedFileError, verify_checksum
from runfolder.names import RECORD

FULL = {number: os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
"""Errors of a write that finds no room: of the disk, of the user's share, of the largest file."""
ROOM = 1 << 20  # bytes; a record needs a few thousand
_KILLED_WORKER = "DataLoader worker (pid"


class FullDiskError(OSError):
    """There was no room for a file."""


class KilledError(RuntimeError):
    """A process that the run cannot do without was killed; that may go better next time."""


class ToldError(RuntimeError):
    """The end of a run for a reason that another of its processes has met, and said, before.

    The message is that of :func:`reason_of` in the other process.
    """


def named(error: BaseException, folder: Path) -> BaseException:
    """``error``, or one with a sentence in place of what a library made of it.

    Args:
        error: that ended a run; what it came from is looked at, too.
        folder: of the run.
    """
    for cause in causes(error):
        if isinstance(cause, FullDiskError | KilledError | ToldError):
            return cause
        if (reason := _no_room(cause)) is not None:
            return FullDiskError(_full_disk(reason, cause, folder))
        if _KILLED_WORKER in str(cause) or _lost_sender(cause):
            return KilledError(
                f"A data-loading process was killed ({sentence_of(cause)}). Where memory ran out, "
                f"a smaller dataloader.train.num_workers needs less. {_way_on(folder)}"
            )
        if isinstance(cause, FileNotFoundError) and _is_gone(folder, cause.filename):
            return FileNotFoundError(
                f"The run folder {folder} was removed or moved while the run wrote to it. Start "
                "again; or, if it was moved, go on there: --resume and train.output_dir=PATH."
            )
    return error


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, each once."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def sentence_of(error: BaseException) -> str:
    """The message of an error, without the traceback that a data-loading process puts before it."""
    return str(error).rsplit(f"{type(error).__name__}: ", 1)[-1].strip()


def reason_of(error: BaseException) -> str:
    """Why a run ended, as its record and the last line on the console say it."""
    if isinstance(error, ToldError):
        return str(error)
    return f"{type(error).__name__}: {sentence_of(error)}"


def says_killed(reason: str | None) -> bool:
    """Whether a reason is that of a :class:`KilledError`."""
    return (reason or "").startswith(f"{KilledError.__name__}: ")


def has_room(folder: Path) -> bool:
    """Whether a small file can still be written; another one may find room where this is False."""
    return shutil.disk_usage(folder).free >= ROOM


def _no_room(error: BaseException) -> str | None:
    """What the system calls it, also where a library or another process kept the text alone."""
    if isinstance(error, OSError) and error.errno in FULL:
        return FULL[error.errno]
    is_of_library = isinstance(error, OSError | RuntimeError)
    return next((text for text in FULL.values() if is_of_library and text in str(error)), None)


def _lost_sender(error: BaseException) -> bool:
    """Whether the process that sent a tensor was gone before its memory could be taken over."""
    frames = traceback.walk_tb(error.__traceback__)
    return isinstance(error, ConnectionError | EOFError | FileNotFoundError) and any(
        frame.f_code.co_name == "rebuild_storage_fd"
        for frame, _ in frames  # PyTorch's
    )


def _full_disk(reason: str, error: BaseException, folder: Path) -> str:
    name = getattr(error, "filename", None)
    path = Path(os.fsdecode(name) if name else folder).absolute()
    if name:
        what = f"{path} could not be written"
    else:
        what = "a file could not be written" if str(error).endswith(reason) else sentence_of(error)
    disk = next(place for place in (path, *path.parents) if os.path.ismount(place))
    free = shutil.disk_usage(disk).free / 2**20
    return f"{reason}: {what}; the disk at {disk} has {free:.1f} MiB left. {_way_on(folder)}"


def _way_on(folder: Path) -> str:
    """Which checkpoint is good, and what to do when the cause is mended."""
    try:
        path = last_checkpoint(folder)
        if path is not None:
            verify_checksum(path)
            return f"{path.name} is good: the same command with --resume goes on from it."
    except (OSError, DamagedFileError):
        pass
    return "There is no good checkpoint to go on from: start again when that is mended."


def _is_gone(folder: Path, name: str | bytes | None) -> bool:
    """Whether a file is missing because the whole run folder is."""
    path = Path(os.fsdecode(name)).absolute() if name else Path()
    return path.is_relative_to(folder.absolute()) and not (folder / RECORD).exists()
