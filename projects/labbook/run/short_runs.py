"""A short run in a process of its own, in a folder that is made anew, with a time limit."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from labbook.run.console import tail
from labbook.run.processes import RunProcess, train_command
from runfolder.records import run_status

_POLL_SECONDS = 0.1


class ShortRun(NamedTuple):
    """How it went."""

    is_finished: bool
    last_line: str
    """Of what it wrote; the error's sentence if it failed."""
    seconds: float


def run_briefly(
    config_file: Path,
    overrides: Sequence[str],
    folder: Path,
    root: Path,
    limit: float,
    environment: Mapping[str, str] | None = None,
) -> ShortRun:
    """Train a config in a child process and wait for its end.

    Args:
        config_file: relative to ``root``.
        overrides: ``key=value``; ``train.output_dir`` is to be ``folder``.
        folder: the run folder; what is in it is removed first.
        root: the project's root folder.
        limit: seconds after which the run is ended and counts as failed.
        environment: variables besides those of this process.
    """
    shutil.rmtree(folder, ignore_errors=True)
    start = time.monotonic()
    process = RunProcess(folder, train_command(config_file, overrides), root, environment)
    try:
        while process.exit_code() is None and time.monotonic() - start < limit:
            time.sleep(_POLL_SECONDS)
        is_late = process.exit_code() is None
    finally:
        if process.exit_code() is None:
            process.end()
    seconds = time.monotonic() - start
    if is_late:
        return ShortRun(False, f"It did not end within {limit:.0f} s.", seconds)
    is_finished = process.exit_code() == 0 and run_status(folder) == "finished"
    last = tail(process.console, process.console_start, lines=1)
    return ShortRun(is_finished, last or "It ended without a word.", seconds)
