"""Who holds a run folder: one process at a time, by a lock that says whose it is."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from runfolder.provenance import process_start
from runfolder.records import RunIsRunningError

logger = logging.getLogger(__name__)

LOCK = ".lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)


@dataclass(frozen=True)
class Owner:
    """The process that holds, or held, a run folder."""

    pid: int
    host: str
    since: str
    """ISO 8601, UTC."""
    process_start: str | None = None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    def is_alive_here(self) -> bool:
        """Whether it is a living process of this machine."""
        if self.host != socket.gethostname():
            return False
        started = process_start(self.pid)
        return started is not None and started == self.process_start


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the system lets go of it even on kill -9.

    What a killed process has written into the lock stays there: a stale lock, which the next one
    takes over and says so. On file systems without locks the owner's process number decides.

    Raises:
        RunIsRunningError: another process holds it; the message says which.
    """
    with (folder / LOCK).open("a+", encoding="utf-8") as stream:
        before = _read(stream)
        locked = _lock(stream)
        if locked is False or (locked is None and before is not None and before.is_alive_here()):
            raise RunIsRunningError(
                f"Another process trains in {folder} ({before or 'it has not said which'}). Wait "
                "for it, stop it, or choose another train.output_dir."
            )
        if before is not None:
            logger.warning(f"{folder} was held by {before}; that lock is stale and is taken over.")
        start = process_start(os.getpid())
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _write(stream, json.dumps(asdict(Owner(os.getpid(), socket.gethostname(), now, start))))
        try:
            yield
        finally:
            _write(stream, "")


def owner_of(folder: Path) -> Owner | None:
    """Who holds the run folder, as far as its lock says; None if nobody does.

    Not for the process that holds it: closing the file here would let go of its lock.
    """
    try:
        with (folder / LOCK).open(encoding="utf-8") as stream:
            return _read(stream)
    except OSError:
        return None


def _lock(stream: TextIO) -> bool | None:
    """Whether the lock is ours now; None where the file system has no locks."""
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _TAKEN else None
    return True


def _read(stream: TextIO) -> Owner | None:
    stream.seek(0)
    try:
        return Owner(**json.loads(stream.read()))
    except (ValueError, TypeError):  # empty, cut short, or not written by us
        return None


def _write(stream: TextIO, text: str) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(text)
    stream.flush()
