"""A training run as a child process: its command, its console file, how it is asked to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runfolder.provenance import process_start
from runfolder.records import read_record

TRAIN_SCRIPT = "tools/lazyconfig_train_net.py"  # below the project's root folder
CONSOLE = "console.txt"
KILL_SECONDS = 5.0
"""Time between the request to end at once and the end by force."""


@dataclass(frozen=True)
class Processes:
    """How many processes train one model together, and which of them this machine starts."""

    per_node: int = 1
    nodes: int = 1
    node: int = 0
    """Number of this machine among them."""
    address: str = ""
    """Of machine 0."""
    port: int = 0

    def launcher(self) -> list[str]:
        """What stands between Python and the training script on the command line."""
        torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={self.per_node}"]
        if self.nodes > 1:
            place = [f"--nnodes={self.nodes}", f"--node-rank={self.node}"]
            return [
                *torchrun,
                *place,
                f"--master-addr={self.address}",
                f"--master-port={self.port}",
            ]
        return [*torchrun, "--standalone"] if self.per_node > 1 else []  # a free port of its own


def train_command(
    config_file: Path, overrides: Sequence[str], processes: Processes | None = None
) -> list[str]:
    """The command that starts a run, or goes on with it."""
    launcher = (processes or Processes()).launcher()
    script = [TRAIN_SCRIPT, "--config-file", str(config_file), "--resume"]
    return [sys.executable, *launcher, *script, *overrides]


class RunProcess:
    """A run that was started.

    It writes to its console file itself and has a session of its own: it outlives a killed runner
    and no Ctrl-C of a terminal reaches it.

    Args:
        folder: the run folder.
        command: of :func:`train_command`.
        root: the project's root folder, where it runs.
        environment: variables besides those of this process.
        inherited: file descriptors that stay open in it.
        console: name of the console file in the run folder.

    Raises:
        OSError: the folder cannot be written, or the process cannot be started.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        root: Path,
        environment: Mapping[str, str] | None = None,
        inherited: Sequence[int] = (),
        console: str = CONSOLE,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.console = folder / console
        with self.console.open("ab") as out:
            out.write(f"$ {' '.join(command)}\n".encode())
            out.flush()
            self.console_start = out.tell()
            self._process = subprocess.Popen(
                command,
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,
                pass_fds=inherited,
            )

    @property
    def pid(self) -> int:
        """Of the process, which may be the launcher of several."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """As ``Popen.poll``: None while it runs, negative for the signal that killed it."""
        return self._process.poll()

    def request_stop(self) -> None:
        """Ask the run to save a checkpoint after its current step and to end."""
        send(signal.SIGTERM, self._main_pid())

    def end(self) -> None:
        """End the run at once, by force if need be, with all processes that it has started."""
        family = {pid: process_start(pid) for pid in descendants(self.pid)}
        send(signal.SIGTERM, self.pid)
        deadline = time.monotonic() + KILL_SECONDS
        while self.exit_code() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.exit_code() is None:
            send(signal.SIGKILL, self.pid)
        for pid, start in family.items():
            if start is not None and process_start(pid) == start:
                send(signal.SIGKILL, pid)
        self._process.wait()

    def _main_pid(self) -> int:
        """The process that keeps the record; where there are several, it has all stop together.

        Their launcher would pass the request on too, but kill those that need long to save.
        """
        family = [self.pid, *descendants(self.pid)]
        with contextlib.suppress(ValueError):  # a damaged record names nobody
            record = read_record(self.folder)
            if record is not None and record.pid in family:
                return record.pid
        return self.pid


def descendants(pid: int) -> list[int]:
    """Children of a process, their children and so on; [] where the system does not tell."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def send(number: int, pid: int) -> None:
    """Send a signal to a process, unless it has ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
