"""What running a study would take: steps, batches, time and memory of each run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from labbook.config.experiment import moves
from labbook.config.load import to_plain
from labbook.config.studies import Study
from labbook.results.text import duration
from labbook.run.costs import StepCost, step_key
from labbook.run.jobs import Job


@dataclass(frozen=True)
class Planned:
    """One experiment of a plan."""

    name: str
    change: str
    iterations: int
    epochs: int
    """0 where a run is counted in steps."""
    total_batch_size: int
    micro_batch_size: int
    runs: int
    """How many times it is to run, with a seed each."""
    cost: StepCost | None = None

    @property
    def seconds(self) -> float | None:
        """Time of all its training steps, in all its runs; None if unknown."""
        if self.cost is None:
            return None
        return self.runs * self.iterations * self.cost.seconds_per_iteration


def make_plan(jobs: Sequence[Job], costs: Mapping[str, StepCost], seeds: int = 1) -> list[Planned]:
    """The plan of these experiments.

    Args:
        jobs: one for each experiment.
        costs: of a step, by :func:`labbook.run.costs.step_key`.
        seeds: runs of each experiment.
    """
    return [_planned(job, to_plain(job.cfg), costs, seeds) for job in jobs]


def total_seconds(plan: Sequence[Planned]) -> float:
    """Time of all runs whose cost is known, one after the other."""
    return math.fsum(planned.seconds or 0.0 for planned in plan)


def print_plan(study: Study, plan: Sequence[Planned], device: str) -> None:
    """Show the plan as a table, with the total and what the numbers mean.

    A narrow terminal does without the columns that matter least; they are named below.
    """
    console = Console()
    shown = list(_COLUMNS)
    while _width(console, _table(study, shown, plan)) > console.width and _dispensable(shown):
        shown.remove(_dispensable(shown)[-1])
    console.print(_table(study, shown, plan), markup=False)
    hidden = [title for title in _COLUMNS if title not in shown]
    lines = [f"A wider terminal shows {', '.join(hidden)}."] if hidden else []
    for line in [*lines, *summary(study, plan, device)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def summary(study: Study, plan: Sequence[Planned], device: str) -> list[str]:
    """The lines below the table."""
    runs = sum(planned.runs for planned in plan)
    unknown = sum(planned.runs for planned in plan if planned.cost is None)
    iterations = sum(planned.runs * planned.iterations for planned in plan)
    lines = [f"Total: {_runs(runs)}, {iterations:,} iterations"]
    if unknown < runs:
        of = f" of the {runs - unknown} with an estimate" if unknown else ""
        lines[0] += f", {duration(total_seconds(plan))} of training{of}, one after the other"
    lines[0] += "."
    if unknown:
        command = f"lab.py plan {study.family}{' --debug' if study.name != study.family else ''}"
        lines.append(f"No estimate for {_runs(unknown)}: `{command} --measure` runs a few steps.")
    if unknown < runs:
        lines.append(f"On {device}. Training steps only; evaluations come on top.")
    return lines


def _planned(job: Job, config: Any, costs: Mapping[str, StepCost], seeds: int) -> Planned:
    train, declared = config["train"], config.get("experiment") or {}
    batch = train.get("total_batch_size", 0)
    return Planned(
        name=declared.get("name", job.name),
        change=moves(declared),
        iterations=train["max_iter"],
        epochs=train.get("epochs", 0),
        total_batch_size=batch,
        micro_batch_size=min(train.get("micro_batch_size", batch), batch),
        runs=seeds,
        cost=costs.get(step_key(config)),
    )


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def _batch(planned: Planned) -> str:
    return f"{planned.total_batch_size} ({planned.micro_batch_size})"


def _speed(planned: Planned) -> str:
    return f"{planned.cost.seconds_per_iteration:.3g}" if planned.cost else "-"


def _memory(planned: Planned) -> str:
    memory = planned.cost.peak_memory_mb if planned.cost else None
    return "-" if memory is None else f"{memory:,.0f} MB"


_COLUMNS: dict[str, Callable[[Planned], str]] = {
    "Experiment": lambda planned: planned.name,
    "Moves": lambda planned: planned.change or "-",
    "Iterations": lambda planned: f"{planned.iterations:,}",
    "Epochs": lambda planned: str(planned.epochs or "-"),
    "Batch (micro)": _batch,
    "Runs": lambda planned: str(planned.runs),
    "s/iteration": _speed,
    "Time": lambda planned: duration(planned.seconds),
    "Memory": _memory,
    "Known from": lambda planned: planned.cost.source if planned.cost else "-",
}
_TEXT = ("Experiment", "Moves", "Known from")
_LEAVE_LAST = ("Memory", "Batch (micro)", "s/iteration", "Epochs", "Moves", "Runs", "Known from")
"""The last one is the first that a narrow terminal does without."""


def _dispensable(shown: Sequence[str]) -> list[str]:
    return [title for title in _LEAVE_LAST if title in shown]


def _table(study: Study, shown: Sequence[str], plan: Sequence[Planned]) -> Table:
    table = Table(title=f"Plan of the study {study.name}", box=SIMPLE_HEAD, title_justify="left")
    for title in shown:
        fold = {"overflow": "fold", "max_width": 30} if title == "Moves" else {"no_wrap": True}
        table.add_column(title, justify="left" if title in _TEXT else "right", **fold)
    for planned in plan:
        table.add_row(*(_COLUMNS[title](planned) for title in shown))
    return table


def _width(console: Console, table: Table) -> int:
    """Characters that the table takes where there is room."""
    return console.measure(table, options=console.options.update(width=1000)).maximum
