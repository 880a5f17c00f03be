"""What running a study would take: steps, batches, time and memory of each run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pandas import DataFrame
from rich.console import Console

from labbook.config.experiment import describe_change
from labbook.config.load import to_plain
from labbook.config.studies import Study
from labbook.results.text import duration
from labbook.results.text_table import TextTable
from labbook.run.costs import StepCost, step_key
from labbook.run.jobs import Job

_WORDS = ("Experiment", "Moves", "Known from")
_DISPENSABLE = ("Known from", "Runs", "Moves", "Epochs", "s/iteration", "Batch (micro)", "Memory")


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
    cells = DataFrame([_cells(planned) for planned in plan])
    title = f"Plan of the study {study.name}"
    hidden = TextTable(title, cells, _WORDS, _DISPENSABLE, {"Moves": 30}).print(console)
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
        change=describe_change(declared),
        iterations=train["max_iter"],
        epochs=train.get("epochs", 0),
        total_batch_size=batch,
        micro_batch_size=min(train.get("micro_batch_size", batch), batch),
        runs=seeds,
        cost=costs.get(step_key(config)),
    )


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def _cells(planned: Planned) -> dict[str, str]:
    """A row of the plan's table."""
    cost, batch = planned.cost, planned.total_batch_size
    memory = cost.peak_memory_mb if cost else None
    return {
        "Experiment": planned.name,
        "Moves": planned.change or "-",
        "Iterations": f"{planned.iterations:,}",
        "Epochs": str(planned.epochs or "-"),
        "Batch (micro)": f"{batch} ({planned.micro_batch_size})" if batch else "-",
        "Runs": str(planned.runs),
        "s/iteration": f"{cost.seconds_per_iteration:.3g}" if cost else "-",
        "Time": duration(planned.seconds),
        "Memory": "-" if memory is None else f"{memory:,.0f} MB",
        "Known from": cost.source if cost else "-",
    }
