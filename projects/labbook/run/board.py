"""The board: a table of runs with their state and progress, drawn again while they go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rich.live import Live
from rich.table import Table

from labbook.run.progress import Progress
from runfolder.records import run_status

COLUMNS = ("state", "step", "loss", "best AP50", "time left")
STYLES = {"running": "cyan", "finished": "green", "failed": "red", "interrupted": "yellow"}
REFRESH_SECONDS = 1.0


@dataclass
class Line:
    """A run on the board."""

    name: str
    folder: Path
    max_iter: int | None
    progress: Progress


class Board:
    """Shows runs while the block goes on.

    Args:
        runs: (name, run folder, optimisation steps or None where not known) of each.
    """

    def __init__(self, runs: Iterable[tuple[str, Path, int | None]]) -> None:
        self.lines = [Line(name, path, steps, Progress(path)) for name, path, steps in runs]
        self.states: dict[str, str] = {}
        """What to show instead of the status in the run folder, by name."""
        self._live = Live(auto_refresh=False)

    def __enter__(self) -> Board:
        self._live.__enter__()
        self.draw()
        return self

    def __exit__(self, *error: object) -> None:
        self.draw()
        self._live.stop()

    def draw(self) -> None:
        """Read the run folders and draw."""
        self._live.update(table_of(self.lines, self.states), refresh=True)

    def say(self, text: str) -> None:
        """Print a line above the board."""
        self._live.console.print(text, markup=False, highlight=False)


def table_of(lines: Iterable[Line], states: Mapping[str, str] | None = None) -> Table:
    """The runs as a table; reads their folders."""
    table = Table("run", *COLUMNS, box=None)
    for line in lines:
        state = (states or {}).get(line.name) or status_of(line.folder)
        table.add_row(*cells(line, state), style=STYLES.get(state))
    return table


def cells(line: Line, state: str) -> list[str]:
    """A row of the board as text; what is not known yet is a dash."""
    line.progress.refresh()
    at = line.progress
    left = at.seconds_left(line.max_iter) if state == "running" else None
    step = "-" if at.step is None else f"{at.step:,}"
    return [
        line.name,
        state,
        step if line.max_iter is None else f"{step} / {line.max_iter:,}",
        "-" if at.loss is None else f"{at.loss:.3f}",
        "-" if at.ap50 is None else f"{at.ap50:.1f}",
        "-" if left is None else str(timedelta(seconds=round(left))),
    ]


def status_of(folder: Path) -> str:
    """The run's status, or that its record is damaged; a board goes on."""
    try:
        return run_status(folder)
    except ValueError:
        return "damaged"
