"""A training run as a child process: its launcher, its console file, how it is asked to stop."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil

from runfolder import names
from runfolder.records import read_record

KILL_SECONDS = 5.0
"""Time between the request to end at once and the end by force."""
POLL_SECONDS = 0.1


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

    def python(self) -> list[str]:
        """What stands before the training script on the command line."""
        torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={self.per_node}"]
        if self.nodes > 1:
            place = [f"--nnodes={self.nodes}", f"--node-rank={self.node}"]
            meeting = [f"--master-addr={self.address}", f"--master-port={self.port}"]
            return [sys.executable, *torchrun, *place, *meeting]
        if self.per_node > 1:
            return [sys.executable, *torchrun, "--standalone"]  # a free port of its own
        return [sys.executable]


class RunProcess:
    """A run that was started.

    It writes to its console file itself and has a session of its own: it outlives a killed runner
    and no Ctrl-C of a terminal reaches it.

    Args:
        folder: the run folder.
        command: what trains; it runs in ``root``.
        root: the project's root folder.
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
        console: str = names.CONSOLE,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._console = folder / console
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        with self._console.open("ab") as out:
            out.write(f"$ {' '.join(command)}\n".encode())
            out.flush()
            self._start = self._place = out.tell()
            whole = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
            self._process = self._begin(command, root, out, whole, inherited)

    def _begin(
        self,
        command: Sequence[str],
        root: Path,
        out: IO[bytes],
        environment: Mapping[str, str],
        inherited: Sequence[int],
    ) -> Any:
        """Start ``command``; what is returned has the methods of a ``Popen`` that are used here."""
        return subprocess.Popen(
            command,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
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

    def wait(self, seconds: float | None = None) -> int:
        """Its exit status when it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, after so many seconds.
        """
        return self._process.wait(seconds)

    def new_output(self) -> str:
        """What it wrote since the last call; a character cut in two comes with the next."""
        content = self._written_since(self._place)
        self._place += len(content)
        return self._decoder.decode(content)

    def tail(self, lines: int) -> str:
        """The last lines that it wrote."""
        text = self._written_since(self._start).decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def request_stop(self) -> None:
        """Ask the run to save a checkpoint after its current step and to end.

        Of several processes the one that keeps the record is asked and has all stop together;
        their launcher would pass the request on too, but kill those that need long to save.
        """
        main = self.pid
        with contextlib.suppress(ValueError):  # a damaged record names nobody
            record = read_record(self.folder)
            if record is not None and record.pid in [child.pid for child in descendants(self.pid)]:
                main = record.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(main, signal.SIGTERM)

    def end(self) -> None:
        """End it at once, unless it is over: by force if need be, with all that it has started."""
        if self.exit_code() is not None:
            return
        family = descendants(self.pid)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(KILL_SECONDS)
        self._process.kill()  # nothing happens to one that has ended
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.wait()

    def _written_since(self, place: int) -> bytes:
        with self._console.open("rb") as console:
            console.seek(place)
            return console.read()


def descendants(pid: int) -> list[psutil.Process]:
    """Children of a process, their children and so on; [] if it has ended."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def handling(
    numbers: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """Have these signals handled so in the block, except where they are ignored (nohup).

    What the block itself sets for them stays. Outside the main thread, which alone may do so,
    nothing changes.
    """
    is_main = threading.current_thread() is threading.main_thread()
    found = {number: signal.getsignal(number) for number in numbers if is_main}
    before = {number: old for number, old in found.items() if old != signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, old)
