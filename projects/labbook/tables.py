"""The results table of a study, made from its run folders alone."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from labbook.experiment import verdict
from labbook.files import write_text
from labbook.records import read_record, read_results, run_status
from labbook.studies import Study

logger = logging.getLogger(__name__)

SPLITS = ("valid", "test")
METRICS = {"mAP@0.5": "bbox/AP50", "mAP@0.5:0.95": "bbox/AP", "APs": "bbox/APs"}
"""Column title and Detectron2's key; AP in percent. A study may add its own."""

STATUS_TEXT = {
    "new": "not started",
    "running": "running",
    "interrupted": "INTERRUPTED",
    "failed": "FAILED",
    "finished": "finished",
}


@dataclass
class Row:
    """One run; values that a run has not (yet) are None."""

    experiment: str
    folder: str
    status: str
    change: str | None = None
    reason: str | None = None
    results: Mapping[str, Any] | None = None
    targets: tuple[str, ...] = ()
    """Each declared target with whether it is met, as ``bbox/AP > 35: missed``."""
    counts_steps: bool = False
    """Whether the length of the run is set in steps, not in epochs."""

    def metric(self, split: str, key: str) -> float | None:
        """AP of a split in percent."""
        return ((self.results or {}).get(split) or {}).get(key)

    def value(self, key: str) -> Any:
        """Another entry of ``results.json``."""
        return (self.results or {}).get(key)


def collect(study: Study, root: Path, names: Iterable[str] = ()) -> list[Row]:
    """Rows of the study's runs in the order of its plan.

    Args:
        study: the study.
        root: the project's root folder.
        names: run names that get a row even if no run folder of theirs is found.
    """
    rows: dict[str, list[Row]] = {name: [] for name in names}
    for folder in sorted((root / study.work_folder).glob("*/")):
        row = _read_row(folder, study, rows)
        if row is not None:
            rows.setdefault(row.experiment, []).append(row)
    return [
        row
        for name in sorted(rows, key=study.place)
        for row in rows[name] or [Row(experiment=name, folder="", status="new")]
    ]


def write_tables(study: Study, rows: list[Row], root: Path) -> list[Path]:
    """Write ``<study>_table.md`` and ``.csv`` into the study's work folder; return their paths."""
    markdown, table = (
        root / study.work_folder / f"{study.family}_table.{kind}" for kind in ("md", "csv")
    )
    title = f"# Results of the study {study.name}"
    write_text(markdown, f"{title}\n\n{to_markdown(study, rows)}\n\n{_LEGEND}")
    write_text(table, to_csv(study, rows))
    return [markdown, table]


def print_table(study: Study, rows: list[Row], console: Console | None = None) -> None:
    """Show the table on the terminal; a narrow one gets the most important columns only."""
    console = console or Console()
    columns, wide = _columns(study), _WIDE + _EXTRA_WIDTH * len(study.extra_metrics)
    is_narrow = console.width < wide
    if is_narrow:
        columns = {title: columns[title] for title in _narrow(study)}
    table = Table(title=f"Results of the study {study.name}", box=SIMPLE_HEAD, title_justify="left")
    for title in columns:
        table.add_column(
            title,
            justify="left" if title in (_FIRST, _LAST) else "right",
            overflow="fold",
            no_wrap=title != _LAST,
        )
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()))
    console.print(table, markup=False)
    if is_narrow:
        console.print(f"A terminal of {wide} columns shows the others, as do the files.")


def to_markdown(study: Study, rows: list[Row]) -> str:
    """The table with valid and test side by side in one column per metric."""
    columns = _columns(study)
    lines = [list(columns), ["---"] + ["---:"] * (len(columns) - 1)]
    lines += [[cell(row).replace("|", r"\|") for cell in columns.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_csv(study: Study, rows: list[Row]) -> str:
    """The table with one raw value per column; an empty cell is a missing value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    metrics = _metrics(study)
    titles = [f"{title} {split}" for title in metrics for split in SPLITS]
    writer.writerow([*_FACTS, *titles, *_VALUES, "targets", "reason"])
    for row in rows:
        facts = [getattr(row, name) for name in _FACTS]
        scores = [row.metric(split, key) for key in metrics.values() for split in SPLITS]
        values = [row.value(key) for key in _VALUES]
        writer.writerow([*facts, *scores, *values, "; ".join(row.targets), row.reason])
    return out.getvalue()


def _read_row(folder: Path, study: Study, known: Iterable[str]) -> Row | None:
    """The run in ``folder``; None if it is no run of this study."""
    try:
        config = _config_of(folder)
        experiment = config.get("experiment") or {}
        name = experiment.get("name", folder.name)
        belongs = experiment["study"] == study.name if experiment else folder.name in known
        if not belongs:
            return None
        status, results = run_status(folder), read_results(folder)
        ended = results if results and status == "finished" else {}  # else of an earlier attempt
        return Row(
            experiment=name,
            folder=folder.name,
            status=status,
            change=_change(experiment),
            reason=_reason(folder),
            results=results,
            targets=_judge(experiment.get("targets") or {}, ended),
            counts_steps=(config.get("train") or {}).get("epochs") == 0,
        )
    except Exception as error:  # one damaged folder must not hide the others
        logger.warning("%s is left out of the values of the table: %s", folder, error)
        return Row(folder.name, folder.name, "unreadable", reason=str(error))


def _config_of(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not path.is_file():
        return {}
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    return content or {}


def _judge(targets: Mapping[str, float], results: Mapping[str, Any]) -> tuple[str, ...]:
    """Each target against its value on valid or, as ``final_loss``, of the run."""
    values = {**results, **(results.get("valid") or {})}
    return tuple(verdict(name, values.get(name), target) for name, target in targets.items())


def _change(experiment: Mapping[str, Any]) -> str | None:
    """What the experiment moves, as ``optimizer.lr = 0.01``; a bundle is called one."""
    factors, level = experiment.get("factors") or [], experiment.get("level")
    if not factors:
        return None if level is None else str(level)
    return f"{'bundle: ' if len(factors) > 1 else ''}{', '.join(factors)} = {level}"


def _reason(folder: Path) -> str | None:
    record = read_record(folder)
    if record is not None:
        return record.exit_reason
    return "ended before it could start" if (folder / "console.txt").exists() else None


def _pair(key: str) -> Callable[[Row], str]:
    """Cell with an AP of both splits, as ``52.1 / 49.8``."""

    def cell(row: Row) -> str:
        values = [row.metric(split, key) for split in SPLITS]
        if all(value is None for value in values):
            return "-"
        return " / ".join(_number(value, "{:.1f}") for value in values)

    return cell


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _best(row: Row) -> str:
    """The best epoch or, of a run that is counted in steps, the best step from 1 on."""
    if not row.counts_steps:
        return _number(row.value("best_epoch"), "{}")
    iteration = row.value("best_iteration")
    # counted from 0; -1: no evaluation gave a score
    return "-" if iteration is None or iteration < 0 else f"step {iteration + 1}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _title(row: Row) -> str:
    usual = row.folder in ("", row.experiment)
    return row.experiment if usual else f"{row.experiment} ({row.folder})"


def _notes(row: Row) -> str:
    parts = [STATUS_TEXT.get(row.status, row.status)]
    if row.change:
        parts.append(row.change)
    parts += row.targets
    if row.status != "finished" and row.reason:
        parts.append(row.reason.splitlines()[0])
    return "; ".join(parts)


def _metrics(study: Study) -> dict[str, str]:
    """Column title and key of the metrics that the study's tables show."""
    return METRICS | dict(study.extra_metrics)


def _columns(study: Study) -> dict[str, Callable[[Row], str]]:
    """Column title and cell of the study's Markdown and terminal tables."""
    return {
        _FIRST: _title,
        **{title: _pair(key) for title, key in _metrics(study).items()},
        "Training time": lambda row: _duration(row.value("training_seconds")),
        "Best epoch": _best,
        "s/iteration": lambda row: _number(row.value("seconds_per_iteration"), "{:.3g}"),
        "Peak memory": lambda row: _number(row.value("peak_memory_mb"), "{:.0f} MB"),
        _LAST: _notes,
    }


def _narrow(study: Study) -> list[str]:
    """Columns of a narrow terminal: the study's own metrics leave no room for the usual ones."""
    extra = [title for title, _ in study.extra_metrics]
    return [_FIRST, *(extra or ["mAP@0.5", "mAP@0.5:0.95"]), _LAST]


_FIRST, _LAST = "Experiment", "Status, notes"
_WIDE = 140
_EXTRA_WIDTH = 30
"""Characters of a terminal: for all usual columns, and for each that a study adds with the targets
in its notes."""

_FACTS = ("experiment", "folder", "change", "status")
_VALUES = (
    "training_seconds",
    "best_epoch",
    "best_iteration",
    "iterations",
    "seconds_per_iteration",
    "peak_memory_mb",
    "final_loss",
)

_LEGEND = """\
AP in percent, valid / test; the best checkpoint is chosen on valid. "-": not there (yet).
Targets are judged on valid, the split that chose the checkpoint; "unknown": the run has not come to
its end, or the number is not defined.
A run in capitals did not finish.
"""
