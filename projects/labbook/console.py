"""Show what a running process writes into a file."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

_POLL_SECONDS = 0.1


def follow(
    process: subprocess.Popen[bytes], path: Path, start: int, seconds: float | None = None
) -> bool:
    """Copy to the terminal what the process adds to ``path`` from byte ``start`` on.

    Args:
        process: the writer.
        path: the file.
        start: byte to begin at.
        seconds: give up waiting after this time; None waits for the end.

    Returns:
        Whether the process has ended.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    with path.open("rb") as lines:
        lines.seek(start)
        while True:
            ended = process.poll() is not None  # asked before reading, so that nothing is lost
            sys.stdout.write(lines.read().decode(errors="replace"))
            sys.stdout.flush()
            if ended or (deadline is not None and time.monotonic() > deadline):
                return ended
            time.sleep(_POLL_SECONDS)


def tail(path: Path, start: int, lines: int) -> str:
    """The last lines that were written to ``path`` from byte ``start`` on."""
    with path.open("rb") as text:
        text.seek(start)
        return "\n".join(text.read().decode(errors="replace").splitlines()[-lines:])
