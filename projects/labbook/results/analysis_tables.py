"""The analysis of a study on the terminal, as Markdown and as CSV."""

from __future__ import annotations

from collections.abc import Callable

from labbook.results.analysis import Analysed, Analysis
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
from labbook.results.terminal import Column

_BATCH_TITLE = "Memory and time against batch size"


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
