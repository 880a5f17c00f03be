"""What running a study would take: steps, batches, time and memory of each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pandas import DataFrame
from rich.console import Console

from labbook.called import lab
from labbook.config.experiment import describe_change
from labbook.config.load import to_plain
from labbook.config.studies import Study
from labbook.results.text import duration, number
from labbook.results.text_table import TextTable
from labbook.run.costs import StepCost, step_key
from labbook.run.jobs import Job

_WORDS = ("Experiment", "Moves", "Known from")
_DISPENSABLE = ("Known from", "Runs", "Moves", "Epochs", "s/iteration", "Batch (micro)", "Memory")


def make_plan(jobs: Sequence[Job], costs: Mapping[str, StepCost], seeds: int = 1) -> DataFrame:
    """A row for each experiment, given the costs of a step by :func:`step_key`.

    Returns:
        Columns ``name``, ``change``; ``iterations``, ``epochs`` (0 where a run is counted in
        steps), ``batch`` and ``micro_batch`` of one run; ``runs``; ``step_seconds``,
        ``memory_mb``, ``source`` (see :class:`StepCost`; NaN and "-" where unknown); ``seconds``
        of all training steps in all runs.
    """
    return DataFrame([_planned(to_plain(job.cfg), job.name, costs, seeds) for job in jobs])


def print_plan(study: Study, plan: DataFrame, device: str) -> None:
    """Show the plan as a table, with the total and what the numbers mean.

    A narrow terminal does without the columns that matter least; they are named below.
    """
    console = Console()
    cells = DataFrame([_cells(row) for row in plan.itertuples()])
    title = f"Plan of the study {study.name}"
    hidden = TextTable(title, cells, _WORDS, _DISPENSABLE, {"Moves": 30}).print(console)
    lines = [f"A wider terminal shows {', '.join(hidden)}."] if hidden else []
    for line in [*lines, *summary(study, plan, device)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def summary(study: Study, plan: DataFrame, device: str) -> list[str]:
    """The lines below the table."""
    runs, known = plan.runs.sum(), plan.runs[plan.seconds.notna()].sum()
    total = f"Total: {_runs(runs)}, {(plan.runs * plan.iterations).sum():,} iterations"
    if known:
        of = f" of the {known} with an estimate" if known < runs else ""
        total += f", {duration(plan.seconds.sum())} of training{of}, one after the other"
    lines = [f"{total}."]
    if known < runs:
        command = lab(f"plan {study.family}{' --debug' if study.is_debug else ''} --measure")
        unknown = _runs(runs - known)
        lines.append(f"No estimate for {unknown}: `{command}` runs a few steps.")
    if known:
        lines.append(f"On {device}. Training steps only; evaluations come on top.")
    return lines


def _planned(config: Any, name: str, costs: Mapping[str, StepCost], seeds: int) -> dict[str, Any]:
    train, declared = config["train"], config.get("experiment") or {}
    batch = train.get("total_batch_size", 0)
    cost = costs.get(step_key(config), StepCost(float("nan"), None, "-"))
    return {
        "name": declared.get("name", name),
        "change": describe_change(declared),
        "iterations": train["max_iter"],
        "epochs": train.get("epochs", 0),
        "batch": batch,
        "micro_batch": min(train.get("micro_batch_size", batch), batch),
        "runs": seeds,
        "step_seconds": cost.seconds_per_iteration,
        "seconds": seeds * train["max_iter"] * cost.seconds_per_iteration,
        "memory_mb": cost.peak_memory_mb,
        "source": cost.source,
    }


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _cells(planned: Any) -> dict[str, str]:
    """A row of the table, of a row of the plan."""
    return {
        "Experiment": planned.name,
        "Moves": planned.change or "-",
        "Iterations": f"{planned.iterations:,}",
        "Epochs": str(planned.epochs or "-"),
        "Batch (micro)": f"{planned.batch} ({planned.micro_batch})" if planned.batch else "-",
        "Runs": str(planned.runs),
        "s/iteration": number(planned.step_seconds, "{:.3g}"),
        "Time": duration(planned.seconds),
        "Memory": number(planned.memory_mb, "{:,.0f} MB"),
        "Known from": planned.source,
    }
