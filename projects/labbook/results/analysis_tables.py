"""The analysis of a study on the terminal, as Markdown and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from labbook.results.analysis import Analysed, Analysis, reasons
from labbook.results.cells import duration, number, title_of
from labbook.results.curves import (
    CONVERGED,
    FLAT,
    FLAT_SHARE,
    RISE,
    SMOOTHING,
    WINDOW,
    Measure,
)
from labbook.results.formats import csv_text, markdown_table
from labbook.results.terminal import Column, print_columns, print_hidden, that_fit
from runfolder.files import write_text

_BATCH_TITLE = "Memory and time against batch size"


def print_analysis(analysis: Analysis, console: Console | None = None) -> None:
    """Show a table for each factor and one over batch sizes; narrow terminals get less."""
    console = console or Console()
    columns = run_columns()
    shown = that_fit(columns, analysis.runs, console.width)
    for section in analysis.sections:
        print_columns(console, section.title, shown, section.runs)
    if by_batch := analysis.by_batch():
        fitting = that_fit(batch_columns(), by_batch, console.width)
        print_columns(console, _BATCH_TITLE, fitting, by_batch)
    console.print(legend(analysis), markup=False, highlight=False)
    print_hidden(console, columns, shown, analysis.runs)


def write_analysis(analysis: Analysis, root: Path) -> list[Path]:
    """Write ``<study>_analysis.md`` and ``.csv`` into the study's work folder."""
    study = analysis.study
    texts = {"md": to_markdown(analysis), "csv": to_csv(analysis)}
    paths = []
    for kind, text in texts.items():
        paths.append(root / study.work_folder / f"{study.family}_analysis.{kind}")
        write_text(paths[-1], text)
    return paths


def to_markdown(analysis: Analysis) -> str:
    """A table for each factor and one over batch sizes, with all columns."""
    parts = [f"# How the runs of the study {analysis.study.name} learned"]
    for section in analysis.sections:
        parts += [f"## {section.title}", _markdown(run_columns(), section.runs)]
    if by_batch := analysis.by_batch():
        parts += [f"## {_BATCH_TITLE}", _markdown(batch_columns(), by_batch)]
    return "\n\n".join([*parts, legend(analysis)]) + "\n"


def to_csv(analysis: Analysis) -> str:
    """A line for each run with raw values; an empty cell is a missing value, ``missing`` says why.

    Steps count from 1; times are in seconds, memory in MiB.
    """
    return csv_text([_record(item) for item in analysis.runs])


def legend(analysis: Analysis) -> str:
    """How each measure is defined."""
    score = title_of(analysis.study, analysis.metric)
    return "\n".join(
        [
            f"From metrics.json of each run; the score is {score} on valid. Steps (epochs):",
            f"- 90 % at: the first with {CONVERGED:.0%} of the run's best score.",
            f"- Flat from: from there the best score rose by less than {FLAT} points until the "
            f'end, {FLAT_SHARE:.0%} of the run or more; "rising": not yet.',
            f"- Oscillation: median distance of the training loss from its median over {WINDOW} "
            "logged values, in the second half of the log.",
            "- Gradient bursts: 95th percentile of the gradient norm over its median, after the "
            "warm-up; 1 is even.",
            f"- Overfits from: the lowest validation loss (median of {SMOOTHING} evaluations), if "
            f"the last {SMOOTHING} lie more than {RISE:.0%} above it.",
            '"-": not there, or the log is too short for it; the CSV file says why.',
        ]
    )


def _markdown(columns: Sequence[Column], items: Sequence[Analysed]) -> str:
    cells = [[column.cell(item) for column in columns] for item in items]
    return markdown_table([column.title for column in columns], cells)


def run_columns() -> list[Column]:
    """How each run learned, most important first."""
    return [
        Column("Experiment", lambda item: item.title, is_text=True),
        Column("90 % at", _place("steps_to_converge")),
        Column("Flat from", _place("plateau_step", "still rising", "rising")),
        Column("Oscillation", _value("oscillation", "{:.1%}"), 1),
        Column("Gradient bursts", _value("gradient_stability", "{:.2f}"), 3),
        Column("Overfits from", _place("overfitting_step", "not seen", "not seen"), 2),
        Column("s/iteration", _value("seconds_per_iteration", "{:.3g}"), 4),
        Column("Images/s", _value("images_per_second", "{:.3g}"), 6),
        Column("Peak memory", _value("peak_memory_mb", "{:.0f} MB"), 5),
        Column("NaN losses", lambda item: str(item.not_finite), 7),
    ]


def batch_columns() -> list[Column]:
    """What a run costs, by batch size."""
    return [
        Column("Batch", lambda item: str(item.batch)),
        Column("Micro-batch", lambda item: number(item.micro_batch, "{}"), 2),
        Column("Experiment", lambda item: item.title, is_text=True),
        Column("Peak memory", _value("peak_memory_mb", "{:.0f} MB")),
        Column("s/iteration", _value("seconds_per_iteration", "{:.3g}")),
        Column("Images/s", _value("images_per_second", "{:.3g}"), 1),
        Column("Training time", _training_time, 3),
    ]


def _value(name: str, form: str) -> Callable[[Analysed], str]:
    return lambda item: number(item.measures[name].value, form)


def _place(name: str, reason: str = "", text: str = "-") -> Callable[[Analysed], str]:
    """Cell with a step and its epoch; ``text`` if the measure is missing for that reason."""

    def cell(item: Analysed) -> str:
        found: Measure = item.measures[name]
        if found.value is None:
            return text if found.reason == reason else "-"
        epoch = item.epoch(found.value)
        return f"{found.value:.0f}" + (f" ({epoch})" if epoch else "")

    return cell


def _training_time(item: Analysed) -> str:
    return duration(item.run.results.get("training_seconds") if item.run.is_finished else None)


def _record(item: Analysed) -> dict[str, Any]:
    run = item.run
    return {
        "experiment": item.row.name,
        "folder": run.folder.name,
        "seed": run.seed,
        "status": run.status,
        "factors": " ".join(run.experiment.get("factors") or []),
        "level": run.experiment.get("level"),
        "batch": item.batch,
        "micro_batch": item.micro_batch,
        "steps": item.steps,
        **{name: found.value for name, found in item.measures.items()},
        "not_finite_losses": item.not_finite,
        "missing": reasons(item.measures),
    }
