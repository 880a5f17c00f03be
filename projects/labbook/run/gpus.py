"""The GPUs of this machine, each lent to one run at a time, also by several runners.

A GPU that a run has is marked by a locked file in the system's folder for temporary files. The
run's process inherits the lock, so it lasts as long as the run, even if the runner is killed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import lock_descriptor

from runfolder.provenance import output_of

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class GpuLease:
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
    """The GPUs that runs may use."""

    names: Mapping[str, str] = field(default_factory=dict)
    """By name as CUDA takes it: what its lock is called."""

    def lease(self, count: int) -> GpuLease | None:
        """``count`` free GPUs; None unless so many are free just now."""
        found: dict[str, int] = {}
        for name, lock_name in self.names.items():
            lock = _try_lock(lock_name) if len(found) < count else None
            if lock is not None:
                found[name] = lock
        lease = GpuLease(tuple(found), tuple(found.values()))
        if len(found) == count:
            return lease
        lease.release()
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
    return Gpus({name: identities.get(name, name) for name in wanted or there})


def _identities() -> dict[str, str]:
    """The unique id of each GPU by its number; {} without a driver.

    Numbers are not unique: containers on one machine count their own GPUs from 0.
    """
    listed = output_of(["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]) or b""
    pairs = (line.split(",") for line in listed.decode().splitlines() if line.count(",") == 1)
    return {number.strip(): uuid.strip() for number, uuid in pairs}


def _try_lock(name: str) -> int | None:
    """A descriptor that holds the lock of a GPU; None if another run has it.

    Not a ``FileLock``: that is let go of in forked children, and this one is for them.
    """
    path = Path(tempfile.gettempdir()) / f"labbook-{name.replace('/', '_')}.lock"
    before = os.umask(0o111)  # the machine's other users can lock it too
    try:
        lock = os.open(path, os.O_RDONLY if path.exists() else os.O_RDONLY | os.O_CREAT, 0o666)
    finally:
        os.umask(before)
    if lock_descriptor(lock, blocking=False):
        return lock
    os.close(lock)
    return None
