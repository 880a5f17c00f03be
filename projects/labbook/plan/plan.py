"""What running a study would take: steps, batches, time and memory of each run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from labbook.config.experiment import moves
from labbook.config.load import to_plain
from labbook.config.studies import Study
from labbook.plan.estimates import Cost, step_key
from labbook.results.cells import duration
from labbook.results.terminal import Column, print_columns, that_fit
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
    cost: Cost | None = None

    @property
    def seconds(self) -> float | None:
        """Time of all its training steps, in all its runs; None if unknown."""
        if self.cost is None:
            return None
        return self.runs * self.iterations * self.cost.seconds_per_iteration


def make_plan(jobs: Sequence[Job], costs: Mapping[str, Cost], seeds: int = 1) -> list[Planned]:
    """The plan of these experiments.

    Args:
        jobs: one for each experiment.
        costs: of a step, by :func:`labbook.plan.estimates.step_key`.
        seeds: runs of each experiment.
    """
    return [_planned(job, to_plain(job.cfg), costs, seeds) for job in jobs]


def total_seconds(plan: Sequence[Planned]) -> float:
    """Time of all runs whose cost is known, one after the other."""
    return math.fsum(entry.seconds or 0.0 for entry in plan)


def print_plan(study: Study, plan: Sequence[Planned], device: str) -> None:
    """Show the plan as a table, with the total and what the numbers mean."""
    console = Console()
    shown = that_fit(_COLUMNS, plan, console.width)
    print_columns(console, f"Plan of the study {study.name}", shown, plan)
    hidden = [column.title for column in _COLUMNS if column not in shown]
    if hidden:
        text = f"A wider terminal shows {', '.join(hidden)}."
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for line in summary(study, plan, device):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def summary(study: Study, plan: Sequence[Planned], device: str) -> list[str]:
    """The lines below the table."""
    runs = sum(entry.runs for entry in plan)
    unknown = sum(entry.runs for entry in plan if entry.cost is None)
    iterations = sum(entry.runs * entry.iterations for entry in plan)
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


def _planned(job: Job, config: Any, costs: Mapping[str, Cost], seeds: int) -> Planned:
    train = config["train"]
    return Planned(
        name=config["experiment"]["name"],
        change=moves(config["experiment"]),
        iterations=train["max_iter"],
        epochs=train["epochs"],
        total_batch_size=train["total_batch_size"],
        micro_batch_size=min(train["micro_batch_size"], train["total_batch_size"]),
        runs=seeds,
        cost=costs.get(step_key(config)),
    )


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def _batch(entry: Planned) -> str:
    return f"{entry.total_batch_size} ({entry.micro_batch_size})"


def _speed(entry: Planned) -> str:
    return "-" if entry.cost is None else f"{entry.cost.seconds_per_iteration:.3g}"


def _memory(entry: Planned) -> str:
    memory = entry.cost.peak_memory_mb if entry.cost else None
    return "-" if memory is None else f"{memory:,.0f} MB"


_COLUMNS = (
    Column("Experiment", lambda entry: entry.name, is_text=True),
    Column("Moves", lambda entry: entry.change or "-", rank=3, folds=30, is_text=True),
    Column("Iterations", lambda entry: f"{entry.iterations:,}"),
    Column("Epochs", lambda entry: str(entry.epochs or "-"), rank=2),
    Column("Batch (micro)", _batch, rank=1),
    Column("Runs", lambda entry: str(entry.runs), rank=4),
    Column("s/iteration", _speed, rank=2),
    Column("Time", lambda entry: duration(entry.seconds)),
    Column("Memory", _memory, rank=1),
    Column(
        "Known from", lambda entry: entry.cost.source if entry.cost else "-", rank=5, is_text=True
    ),
)
