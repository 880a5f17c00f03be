"""Runs that start at once: forked from a process that has loaded their libraries.

An interpreter takes seconds to load torch and Detectron2, which of a trial at toy size is half. The
libraries are loaded once here, and nothing else; each run is then a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import IO, Any

from labbook.run.processes import RunProcess

FORKS = get_context("forkserver")
_LOADED_BY_ALL = ("hydra.core.override_parser.overrides_parser", "labbook.run.trials.freeze")


def load_once(modules: Iterable[str], threads: int) -> None:
    """Start the process that runs are forked from, unless it is there.

    Args:
        modules: what it imports, as far as it can.
        threads: that each run may compute with.
    """
    before = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # the server's own is short
    FORKS.set_forkserver_preload([*sorted(modules), *_LOADED_BY_ALL])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


class ForkedRun(RunProcess):
    """A run whose script is executed in a forked process, from its first line to its last."""

    def _begin(
        self,
        command: Sequence[str],
        root: Path,
        out: IO[bytes],
        environment: Mapping[str, str],
        inherited: Sequence[int],
    ) -> Any:
        process = _Script(target=_execute, args=(command[1:], root, self._console, environment))
        process.start()
        return process


class _Script(FORKS.Process):
    """A process of ``multiprocessing`` with what :class:`RunProcess` asks of a ``Popen``."""

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, seconds: float | None = None) -> int:
        self.join(seconds)
        if self.exitcode is None:
            raise subprocess.TimeoutExpired(self.name, seconds or 0.0)
        return self.exitcode


def _execute(
    words: Sequence[str], root: Path, console: Path, environment: Mapping[str, str]
) -> None:
    """Be the program that is called with ``words``, in a session of its own."""
    multiprocessing.set_start_method(None, force=True)  # its own processes start as in any program
    os.setsid()
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment)
    with console.open("ab") as out:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(out.fileno(), stream.fileno())
    sys.argv = list(words)
    runpy.run_path(words[0], run_name="__main__")
