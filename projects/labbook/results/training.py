"""How the runs of a study learned, factor by factor, from their logs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandas import DataFrame, Series
from rich.console import Console

from labbook.called import lab
from labbook.config.studies import Study
from labbook.results.collect import study_runs
from labbook.results.frames import curves_frame, declared_metric, experiments_frame
from labbook.results.measures import (
    CONVERGED,
    FLAT,
    FLAT_SHARE,
    RISE,
    SMOOTHING,
    WINDOW,
    Measure,
    gradient_stability,
    oscillation,
    overfitting_step,
    plateau_step,
    steps_to_converge,
)
from labbook.results.text import duration, number, pair, tiled_metrics, title_of
from labbook.results.text_table import TextTable, markdown, print_texts, to_csv, write_texts
from runfolder.names import SPLITS, TOTAL_LOSS, VALIDATION_LOSS

_LOGGED = (TOTAL_LOSS, VALIDATION_LOSS, "grad_norm", "time", "memory_mb")
_FOR_TABLES = ("label", "epoch_length", "training_seconds")
_LEARNED = (
    *("Experiment", "90 % at", "Flat from", "Oscillation", "Gradient bursts", "Overfits from"),
    *("s/iteration", "Images/s", "Peak memory", "NaN losses"),
)
_COSTS = (
    *("Batch", "Micro-batch", "Experiment", "Peak memory", "s/iteration", "Images/s"),
    "Training time",
)


@dataclass(frozen=True)
class Analysis:
    """All runs of a study, finished or not, by the factor that they move."""

    study: Study
    metric: str
    """Key of the score whose curve is read."""
    runs: DataFrame
    """A row for each run folder, which is its index: what it declares, what its curves say, and in
    ``missing`` why they do not. Steps count from 1, times are in seconds, memory in MiB. ``label``
    names it in tables. Where a run was scored with tiles, those scores, as ``test tiled/AP50``."""
    sections: Sequence[tuple[str, Sequence[str]]]
    """A factor, or a bundle, and the folders of the runs at its levels."""


def analyse(study: Study, root: Path, only: Iterable[str] = ()) -> Analysis:
    """Read the logs of all runs of a study, finished or not, or of those in ``only``.

    Raises:
        ValueError: there are none, or a name of ``only`` is unknown.
    """
    runs = study_runs(study, root, only=only).dropna(subset="run")
    if runs.empty:
        raise ValueError(
            f"The study '{study.name}' has no runs in {study.work_folder} yet; "
            f"`{lab(f'run {study.family}')}` makes some."
        )
    return analyse_runs(study, runs)


def analyse_runs(study: Study, runs: DataFrame) -> Analysis:
    """Read the logs of these runs, rows of :func:`labbook.results.frames.runs_frame`."""
    metric = declared_metric(runs["run"])
    curves = curves_frame(runs, [metric, *_LOGGED])
    by_folder = dict(list(curves.groupby("folder")))
    rows = [_row(run, metric, by_folder.get(run.folder, curves[:0])) for run in runs.itertuples()]
    several = runs["title"].duplicated(keep=False)
    labels = [_label(run, many) for run, many in zip(runs.itertuples(), several, strict=True)]
    frame = DataFrame(rows, index=runs["folder"], dtype=object).assign(label=labels)
    keys = [f"{split} {key}" for key in tiled_metrics(runs).values() for split in SPLITS]
    frame = frame.join(runs.set_index("folder")[keys])
    return Analysis(study, metric, frame, _sections(runs))


def analysis_tables(analysis: Analysis) -> list[TextTable]:
    """A table for each factor, and one over batch sizes if there are two."""
    cells = DataFrame([_cells(run) for _, run in analysis.runs.iterrows()], analysis.runs.index)
    tiled = tiled_metrics(analysis.runs)
    order = ("NaN losses", "Images/s", "Peak memory", "s/iteration", "Gradient bursts")
    order = (*order, *tiled, "Overfits from", "Oscillation")
    tables = [
        TextTable(title, cells.loc[folders, [*_LEARNED, *tiled]], dispensable=order)
        for title, folders in analysis.sections
    ]
    sizes = analysis.runs[["batch", "micro_batch"]].dropna(subset="batch")
    if len(sizes.drop_duplicates()) > 1:
        folders = sizes.sort_values(["batch", "micro_batch"], kind="stable").index
        costs, order = (
            cells.loc[folders, list(_COSTS)],
            ("Training time", "Micro-batch", "Images/s"),
        )
        tables.append(TextTable("Memory and time against batch size", costs, dispensable=order))
    return tables


def print_analysis(analysis: Analysis, console: Console | None = None) -> None:
    """Show all tables; narrow terminals get fewer columns."""
    console = console or Console()
    tables = analysis_tables(analysis)
    said = [table.said(table.print(console)) for table in tables]
    print_texts(console, legend(analysis), max(said, key=len))


def write_analysis(analysis: Analysis, root: Path) -> list[Path]:
    """Write ``<study>_analysis.md`` and ``.csv`` into the study's work folder."""
    numbers = to_csv(analysis.runs.drop(columns=list(_FOR_TABLES)))
    texts = {"md": to_markdown(analysis), "csv": numbers}
    return write_texts(analysis.study, root, "analysis", texts)


def to_markdown(analysis: Analysis) -> str:
    """All tables, with all columns."""
    parts = [f"# How the runs of the study {analysis.study.title} learned"]
    for table in analysis_tables(analysis):
        parts += [f"## {markdown(table.title)}", table.to_markdown()]
    return "\n\n".join([*parts, markdown(legend(analysis))]) + "\n"


def legend(analysis: Analysis) -> str:
    """How each measure is defined."""
    score = title_of(analysis.study, analysis.metric)
    tiled = "\n- tiled: AP in percent of the best model on tiles, valid / test."
    tiled = tiled if tiled_metrics(analysis.runs) else ""
    return f"""From metrics.json of each run; the score is {score} on valid. Steps (epochs):
- 90 % at: the first with {CONVERGED:.0%} of the run's best score.
- Flat from: from there the best score rose by less than {FLAT} points until the end, \
{FLAT_SHARE:.0%} of the run or more; "rising": not yet.
- Oscillation: median distance of the training loss from its median over {WINDOW} logged values, \
in the second half of the log.
- Gradient bursts: 95th percentile of the gradient norm over its median, after the warm-up; \
1 is even.
- Overfits from: the lowest validation loss (median of {SMOOTHING} evaluations), if the last \
{SMOOTHING} lie more than {RISE:.0%} above it and the best score hardly rose since.{tiled}
"-": not there, or the log is too short for it; the CSV file says why."""


def _row(run: Any, metric: str, curves: DataFrame) -> dict[str, Any]:
    """What is known of one run, a row of the frame of runs, with its curves."""
    train = run.run.config.get("train") or {}
    losses = curves[curves["key"] == TOTAL_LOSS]
    is_finite = losses["value"].notna()
    measures = _measures(curves.dropna(subset="value"), metric, train)
    return {
        "experiment": run.experiment,
        "folder": run.folder,
        "seed": run.seed,
        "status": run.status,
        "factors": " ".join(run.factors),
        "level": run.level,
        "batch": train.get("total_batch_size"),
        "micro_batch": train.get("micro_batch_size"),
        "lowered": run.run.lowered_micro_batch is not None,
        "steps": losses["iteration"][is_finite].max() + 1 if is_finite.any() else 0,
        **{name: found.value for name, found in measures.items()},
        "not_finite_losses": (~is_finite).sum(),
        "missing": "; ".join(f"{name}: {m.reason}" for name, m in measures.items() if m.reason),
        "epoch_length": None if run.counts_steps else train.get("iterations_per_epoch"),
        "training_seconds": run.training_seconds,
    }


def _measures(curves: DataFrame, metric: str, train: Mapping[str, Any]) -> dict[str, Measure]:
    """By name, from finite values."""
    by_key = {key: one.set_index("iteration")["value"] for key, one in curves.groupby("key")}
    scores, losses, validation, norms, times, memory = (
        by_key.get(key, Series(dtype=float)) for key in (metric, *_LOGGED)
    )
    batch, seconds = train.get("total_batch_size"), times.median()
    speed = batch / seconds if batch and seconds else float("nan")
    return {
        "steps_to_converge": steps_to_converge(scores),
        "oscillation": oscillation(losses),
        "gradient_stability": gradient_stability(norms, train.get("warmup_iters") or 0),
        "overfitting_step": overfitting_step(validation, scores),
        "plateau_step": plateau_step(scores),
        "seconds_per_iteration": _logged(seconds),
        "images_per_second": _logged(speed, "the time or the batch size is not known"),
        "peak_memory_mb": _logged(memory.max()),
    }


def _logged(value: float, reason: str = "not logged") -> Measure:
    return Measure(None, reason) if math.isnan(value) else Measure(value)


def _sections(runs: DataFrame) -> list[tuple[str, list[str]]]:
    """One for each set of factors moved from the same parent, then what belongs to none."""
    experiments = experiments_frame(runs)
    moved: dict[tuple[Any, Any], list[Any]] = {}
    for row in experiments.itertuples():
        if row.factors:
            moved.setdefault((row.factors, row.parent), []).append(row)
    shown, used = [], set()
    for (factors, _), rows in moved.items():
        parent = rows[0].ancestors[:1]
        used.update(parent)
        title = f"{'bundle: ' if len(factors) > 1 else ''}{', '.join(factors)}"
        shown.append((title, [*parent, *(row.Index for row in sorted(rows, key=_by_level))]))
    alone = [row.Index for row in experiments.itertuples() if not row.factors]
    shown.append(("no factor", [title for title in alone if title not in used]))
    folders = runs.groupby("title")["folder"].agg(list)
    return [(title, folders[titles].sum()) for title, titles in shown if titles]


def _by_level(row: Any) -> tuple[bool, float]:
    """Numbers rising, then the rest in the order of the plan."""
    is_number = isinstance(row.level, int | float)
    return not is_number, row.level if is_number else 0


def _label(run: Any, has_others: bool) -> str:
    """The experiment, with the seed where there are several and the status if unfinished."""
    parts = [run.title, f"seed {run.seed}" if has_others else ""]
    return " ".join(filter(None, [*parts, "" if run.finished else f"({run.status})"]))


def _cells(run: Any) -> dict[str, str]:
    """How one run learned, and what it costs."""
    is_rising = "plateau_step: still rising" in run["missing"]
    is_sound = "overfitting_step: not seen" in run["missing"]
    return {
        "Experiment": run["label"],
        "90 % at": _place(run, "steps_to_converge"),
        "Flat from": "rising" if is_rising else _place(run, "plateau_step"),
        "Oscillation": number(run["oscillation"], "{:.1%}"),
        "Gradient bursts": number(run["gradient_stability"], "{:.2f}"),
        "Overfits from": "not seen" if is_sound else _place(run, "overfitting_step"),
        "s/iteration": number(run["seconds_per_iteration"], "{:.3g}"),
        "Images/s": number(run["images_per_second"], "{:.3g}"),
        "Peak memory": number(run["peak_memory_mb"], "{:.0f} MB"),
        "NaN losses": str(run["not_finite_losses"]),
        "Batch": str(run["batch"]),
        "Micro-batch": number(run["micro_batch"], "{}") + " (lowered)" * run["lowered"],
        "Training time": duration(run["training_seconds"]),
        **{title: pair(run, f"{{}} {key}") for title, key in tiled_metrics(run.index).items()},
    }


def _place(run: Any, name: str) -> str:
    """A step with its epoch in brackets."""
    step, length = run[name], run["epoch_length"]
    epoch = f" ({math.ceil(step / length)})" if step and length else ""
    return number(step, "{:.0f}") + epoch
