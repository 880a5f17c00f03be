"""Who holds a run folder: one process at a time, by a lock that says whose it is."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from runfolder.names import LOCK
from runfolder.provenance import process_start
from runfolder.records import RunIsRunningError, run_status
from runfolder.schema import check

logger = logging.getLogger(__name__)


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
def lock_run(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the system lets go of it even on kill -9.

    What a killed process has written into the lock stays there: a stale lock, which the next one
    takes over and says so. On file systems without locks the owner's process number decides.

    Raises:
        RunIsRunningError: another process holds it; the message says which.
    """
    lock = FileLock(folder / LOCK, fallback_to_soft=False)
    locked = _acquire(lock)
    before = owner_of(folder)
    if locked is False or (locked is None and before is not None and before.is_alive_here()):
        raise RunIsRunningError(
            f"Another process trains in {folder} ({before or 'it has not said which'}). Wait "
            "for it, stop it, or choose another train.output_dir."
        )
    try:
        if before is not None:
            logger.warning(f"{folder} was held by {before}; that lock is stale and is taken over.")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        owner = Owner(os.getpid(), socket.gethostname(), now, process_start(os.getpid()))
        (folder / LOCK).write_text(json.dumps(asdict(owner)), encoding="utf-8")
        yield
    finally:
        with suppress(FileNotFoundError):  # the folder may be gone
            (folder / LOCK).write_text("")  # in place: another file would not be the locked one
        lock.release()


def owner_of(folder: Path) -> Owner | None:
    """Who holds the run folder, as far as its lock says; None if nobody does."""
    try:
        found = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        check(found, Owner, LOCK)
        return Owner(**found)
    except (OSError, ValueError, TypeError, RecursionError):  # not there, cut short, or not ours
        return None


def holder_of(folder: Path) -> str | None:
    """Who works in the run folder just now, in words; None if nobody does, as far as is known.

    Raises:
        ValueError: the folder's record is damaged.
    """
    owner = owner_of(folder)
    if (owner is not None and owner.is_alive_here()) or run_status(folder) == "running":
        return str(owner or "another process")
    return None


def _acquire(lock: FileLock) -> bool | None:
    """Whether the lock is ours now; None where the file system has no locks."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError:
        return None
    return True
