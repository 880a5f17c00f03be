"""Which checkpoints a run folder holds, by their names."""

from __future__ import annotations

import re
from pathlib import Path

from runfolder.names import LAST_CHECKPOINT

_PERIODIC = re.compile(r"model_(\d+)\.pth")


def checkpoint_name(steps: int) -> str:
    """Name of the checkpoint after so many steps, without its suffix."""
    return f"model_{steps:07d}"


def periodic_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(number in the name, file) of those named by their steps, oldest first."""
    return sorted(
        (int(match[1]), path)
        for path in folder.glob("model_*.pth")
        if (match := _PERIODIC.fullmatch(path.name))
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, which need not be there; None if ``last_checkpoint`` is empty.

    Without that file it is the newest: a kill right after the first one leaves it unnamed.
    """
    pointer = folder / LAST_CHECKPOINT
    if not pointer.exists():
        return next((path for _, path in reversed(periodic_checkpoints(folder))), None)
    name = pointer.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    return folder / name if name else None
