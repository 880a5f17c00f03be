"""The GPUs of this machine, each lent to one run at a time, also by several runners.

A GPU that a run has is marked by a locked file in the system's folder for temporary files. The
run's process inherits the lock, so it lasts as long as the run, even if the runner is killed.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Claim:
    """GPUs that are lent to one run; none for a run on the CPU."""

    gpus: tuple[str, ...] = ()
    locks: tuple[int, ...] = ()
    """Open file descriptors; the run's process gets them too."""

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process see these GPUs only."""
        return {VISIBLE: ",".join(self.gpus)} if self.gpus else {}

    def release(self) -> None:
        """Let go, as far as this process goes."""
        for lock in self.locks:
            os.close(lock)


@dataclass(frozen=True)
class Gpus:
    """The GPUs that runs may use, by name as CUDA takes them, and what their locks are called."""

    names: tuple[str, ...] = ()
    lock_names: Mapping[str, str] = field(default_factory=dict)

    def claim(self, count: int) -> Claim | None:
        """``count`` free GPUs; None unless so many are free just now."""
        found: list[tuple[str, int]] = []
        for name in self.names:
            if len(found) == count:
                break
            lock = _try_lock(self.lock_names.get(name, name))
            if lock is not None:
                found.append((name, lock))
        claim = Claim(tuple(name for name, _ in found), tuple(lock for _, lock in found))
        if len(found) == count:
            return claim
        claim.release()
        return None


def find_gpus(wanted: Sequence[str] = ()) -> Gpus:
    """The GPUs called ``wanted``, or else all that this process may use.

    Raises:
        ValueError: one of them is not among those that there are, or is named twice.
    """
    identities = _identities()
    allowed = os.environ.get(VISIBLE)
    there = allowed.split(",") if allowed is not None else list(identities)
    there = [name.strip() for name in there if name.strip()]
    for name in wanted:
        if name not in there:
            raise ValueError(
                f"--gpus names GPU {name}, but there are {', '.join(there) or 'none'}"
                + (f" ({VISIBLE}={allowed})." if allowed is not None else ".")
            )
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"--gpus {','.join(wanted)} names a GPU twice; two runs never share one.")
    return Gpus(tuple(wanted or there), identities)


def _identities() -> dict[str, str]:
    """The unique id of each GPU by its number; {} without a driver.

    Numbers are not unique: containers on one machine count their own GPUs from 0.
    """
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.split(",") for line in listed.stdout.splitlines() if line.count(",") == 1)
    return {number.strip(): uuid.strip() for number, uuid in pairs}


def _try_lock(name: str) -> int | None:
    """A descriptor that holds the lock of a GPU; None if another run has it."""
    path = Path(tempfile.gettempdir()) / f"labbook-{name.replace('/', '_')}.lock"
    with _open_to_others():
        lock = os.open(path, os.O_RDONLY if path.exists() else os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike lockf, children inherit it
    except OSError:
        os.close(lock)
        return None
    return lock


@contextmanager
def _open_to_others() -> Iterator[None]:
    """Files made in the block can be locked by the machine's other users too."""
    before = os.umask(0o111)
    try:
        yield
    finally:
        os.umask(before)
