"""What the cells of a results table say, and which columns it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labbook.config.studies import Study
from labbook.results.comparison import SPLITS, Row, Summary
from labbook.results.differences import Difference, Entry
from labbook.results.rules import evaluated_since
from labbook.results.terminal import Column
from runfolder.run import Run

METRICS = {
    "mAP@0.5": "bbox/AP50",
    "mAP@0.5:0.95": "bbox/AP",
    "APs": "bbox/APs",
    "APm": "bbox/APm",
    "APl": "bbox/APl",
}
"""Column title and Detectron2's key; AP in percent. A study may add its own."""

STATUS_TEXT = {
    "new": "not started",
    "running": "running",
    "interrupted": "INTERRUPTED",
    "failed": "FAILED",
    "finished": "finished",
}
DELTA = "Δ"
_NOTES_WIDTH = 24


def metrics_of(study: Study) -> dict[str, str]:
    """Column title and key of the scores that a study's tables show."""
    return METRICS | dict(study.extra_metrics)


def title_of(study: Study, key: str) -> str:
    """What the tables call a score."""
    return next((title for title, other in metrics_of(study).items() if other == key), key)


def columns_of(study: Study, entries: Sequence[Entry], metric: str) -> list[Column]:
    """The columns of a study's tables, in their order.

    Args:
        study: the study.
        entries: the rows; what none of them has gets no column.
        metric: key of the score whose difference to the baseline is shown.
    """
    delta = f"{DELTA} {title_of(study, metric)}"
    columns = [
        Column("Experiment", lambda entry: entry.row.title, is_text=True),
        *_score_columns(study),
        Column(f"{delta} valid", _delta("valid", metric), 1),
        Column(f"{delta} test", _delta("test", metric), 4),
        Column("Training time", lambda entry: _time(entry.row), 3),
        Column("Best epoch", lambda entry: _best(entry.row), 5),
        Column(
            "Final loss", lambda entry: summary_text(entry.row.measure("final_loss"), "{:.3g}"), 8
        ),
        Column("s/iteration", _mean("seconds_per_iteration", "{:.3g}"), 7),
        Column("Peak memory", _mean("peak_memory_mb", "{:.0f}", " MB"), 6),
        Column("Parameters", lambda entry: _parameters(entry.row), 10),
        Column("Status, notes", lambda entry: notes(entry.row), folds=_NOTES_WIDTH, is_text=True),
    ]
    if any(len(entry.row.finished) > 1 for entry in entries):
        columns.insert(1, Column("Seeds", lambda entry: str(len(entry.row.finished)), 2))
    return columns


def _score_columns(study: Study) -> list[Column]:
    """A narrow terminal keeps the two means, or the study's own scores where it has some."""
    own = dict(study.extra_metrics)
    kept = own or ("mAP@0.5", "mAP@0.5:0.95")
    ranks = {"mAP@0.5": 2, "mAP@0.5:0.95": 1, "APs": 2, "APm": 9, "APl": 9}
    return [
        Column(title, _pair(key), 0 if title in kept else ranks[title])
        for title, key in metrics_of(study).items()
    ]


def difference_text(found: Difference | None) -> str:
    """As ``+1.2 ± 0.3 [+0.1, +2.3]*``: estimate, spread over seeds, interval, mark."""
    if found is None or found.estimate is None:
        return "-"
    text = f"{found.estimate:+.1f}"
    if found.spread is not None:
        text += f" ± {found.spread:.1f}"
    if found.bounds is not None:
        text += f" [{found.bounds.low:+.1f}, {found.bounds.high:+.1f}]"
    return text + ("*" if found.is_marked else "")


def notes(row: Row) -> str:
    """Status, what the experiment changes, its targets, and what a reader should know."""
    parts = [_status(row), change(row), *row.targets(), _averaged(row)]
    parts += [text for run in row.finished if (text := evaluated_since(run))]
    parts += [reason.splitlines()[0] for reason in reasons(row)]
    return "; ".join(part for part in parts if part)


def change(row: Row) -> str:
    """What the experiment moves, as ``optimizer.lr = 0.01``; a bundle is called one."""
    factors, level = row.experiment.get("factors") or [], row.experiment.get("level")
    if not factors:
        return "" if level is None else str(level)
    return f"{'bundle: ' if len(factors) > 1 else ''}{', '.join(factors)} = {level}"


def reasons(row: Row) -> list[str]:
    """Why runs did not finish, or could not be read."""
    texts = [row.damage] if row.damage else []
    for run in row.runs:
        if run.record is None and (run.folder / "console.txt").exists():
            texts.append("ended before it could start")
        elif run.status != "finished" and run.record and run.record.exit_reason:
            texts.append(run.record.exit_reason)
    return texts


def number(value: float | None, form: str, unit: str = "") -> str:
    """The number in that form; ``-`` where there is none."""
    return "-" if value is None else form.format(value) + unit


def summary_text(summary: Summary, form: str) -> str:
    """The mean and, over several seeds, its spread, as ``61.2 ± 0.4``."""
    spread = "" if summary.spread is None else f" ± {form.format(summary.spread)}"
    return number(summary.mean, form, spread)


def duration(seconds: float | None) -> str:
    """As ``40 s``, ``12 min`` or ``1 h 23 min``."""
    if seconds is None:
        return "-"
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _pair(key: str) -> Callable[[Entry], str]:
    """Cell with a score of both splits, as ``52.1 / 49.8``."""

    def cell(entry: Entry) -> str:
        found = [entry.row.score(split, key) for split in SPLITS]
        if not any(summary.count for summary in found):
            return "-"
        return " / ".join(summary_text(summary, "{:.1f}") for summary in found)

    return cell


def _delta(split: str, key: str) -> Callable[[Entry], str]:
    return lambda entry: difference_text(entry.to_baseline.get((split, key)))


def _mean(key: str, form: str, unit: str = "") -> Callable[[Entry], str]:
    """Cell with a cost of the run, whose spread over seeds tells nothing."""
    return lambda entry: number(entry.row.measure(key).mean, form, unit)


def _loss(row: Row) -> str:
    return summary_text(row.measure("final_loss"), "{:.3g}")


def _time(row: Row) -> str:
    return duration(row.measure("training_seconds").mean)


def _best(row: Row) -> str:
    """The best epoch or, of runs that are counted in steps, the best step from 1 on."""
    best = row.measure("best_iteration")  # counted from 0; -1: no evaluation gave a score
    if best.mean is not None and best.mean < 0:
        return "-"
    if not row.counts_steps:
        return summary_text(row.measure("best_epoch"), "{:.0f}")
    if best.mean is None:
        return "-"
    return "step " + summary_text(best._replace(mean=best.mean + 1), "{:.0f}")


def _parameters(row: Row) -> str:
    counts = {kind: row.parameters(kind) for kind in ("trainable", "frozen")}
    if counts["trainable"] is None:
        return "-"
    return " + ".join(f"{count / 1e6:.2f} M {kind}" for kind, count in counts.items() if count)


def _averaged(row: Row) -> str:
    """Scores of the averaged weights, which some runs keep beside those of the table."""
    found = [row.ema_score(split, "bbox/AP") for split in SPLITS]
    if not any(summary.count for summary in found):
        return ""
    return "EMA: AP " + " / ".join(summary_text(summary, "{:.1f}") for summary in found)


def _status(row: Row) -> str:
    if row.damage:
        return "unreadable"
    if not row.runs:
        return STATUS_TEXT["new"]
    if len(row.runs) == 1:
        return _run_status(row.runs[0])
    if len(row.finished) == len(row.runs):
        return f"finished, {len(row.runs)} seeds"
    others = [f"seed {run.seed} {_run_status(run)}" for run in row.runs if not run.is_finished]
    return f"{len(row.finished)} of {len(row.runs)} seeds finished, {', '.join(others)}"


def _run_status(run: Run) -> str:
    missing = run.status == "finished" and not run.results
    return "finished, but WITHOUT results.json" if missing else STATUS_TEXT[run.status]
