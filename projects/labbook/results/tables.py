"""The results of a study, made from its run folders alone, and their table on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pandas import DataFrame
from rich.console import Console

from labbook.config.signatures import nearest
from labbook.config.studies import Study
from labbook.results.cells import DELTA, columns_of, metrics_of, title_of
from labbook.results.comparison import Row, declared_metric, group_runs
from labbook.results.differences import Entry, compare, differences_frame
from labbook.results.frames import experiments_frame, runs_frame
from labbook.results.intervals import IntervalCache
from labbook.results.rules import check_comparable
from labbook.results.runs import read_runs
from labbook.results.terminal import print_columns, print_hidden, that_fit


@dataclass(frozen=True)
class Results:
    """What a study has measured so far."""

    study: Study
    metric: str
    """Key of the score that chooses checkpoints."""
    entries: Sequence[Entry]
    """On its way out; use the frames."""
    runs: DataFrame
    """See :mod:`labbook.results.frames` for all three."""
    experiments: DataFrame
    differences: DataFrame

    @property
    def baselines(self) -> list[str]:
        """Names of the experiments that others are compared with."""
        return list(dict.fromkeys(e.baseline.title for e in self.entries if e.baseline))


def collect(
    study: Study, root: Path, names: Iterable[str] = (), only: Iterable[str] = ()
) -> Results:
    """Read the runs of a study and compare them.

    Args:
        study: the study.
        root: the project's root folder.
        names: run names that get a row even if no run folder of theirs is found.
        only: experiments or run folders to leave it at; empty takes all.

    Raises:
        ValueError: the runs were not made alike, or a name of ``only`` is unknown.
    """
    names = list(names)
    runs, damaged = read_runs(study, root, names)
    rows = select_rows(study, group_runs(study, runs, names, damaged), only)
    check_comparable(rows)
    metric = declared_metric(rows)
    keys = dict.fromkeys([*metrics_of(study).values(), metric])
    intervals = IntervalCache(root / study.work_folder / f"{study.family}_intervals.json")
    frame = runs_frame(study, runs, names, damaged)
    frame = frame[frame["title"].isin([row.title for row in rows])]
    experiments = experiments_frame(frame)
    differences = differences_frame(frame, experiments, keys, intervals)
    entries = compare(rows, keys, intervals)
    return Results(study, metric, entries, frame, experiments, differences)


def select_rows(study: Study, rows: Sequence[Row], only: Iterable[str]) -> list[Row]:
    """The rows with these config names, run names or run folders; all if there are none.

    Raises:
        ValueError: a name is unknown; the nearest one is said.
    """
    wanted = set(only)
    folders = {run.folder.name for row in rows for run in row.runs}
    known = folders | {row.name for row in rows}
    for name in sorted(wanted):
        if name not in known and study.run_name(name) not in known:
            raise ValueError(
                f"There is no experiment or run folder '{name}'.{nearest(name, known)} "
                f"There are: {', '.join(sorted(known))}."
            )
    if not wanted:
        return list(rows)
    chosen = wanted | {study.run_name(name) for name in wanted}
    return [row for row in rows if _is_chosen(row, chosen)]


def print_table(results: Results, console: Console | None = None) -> None:
    """Show the table on the terminal; a narrow one gets the most important columns only."""
    console = console or Console()
    columns = columns_of(results.study, results.entries, results.metric)
    title = f"Results of the study {results.study.name}"
    shown = that_fit(columns, results.entries, console.width)
    print_columns(console, title, shown, results.entries)
    has_differences = any(column.title.startswith(DELTA) for column in shown)
    console.print(explanation(results, has_differences), markup=False, highlight=False)
    print_hidden(console, columns, shown, results.entries)


def explanation(results: Results, has_differences: bool = True) -> str:
    """What the numbers of the table mean, in a few sentences; of differences if it has such."""
    text = "AP in percent, valid / test; the checkpoint is the best on valid."
    if any(len(entry.row.finished) > 1 for entry in results.entries):
        text += " ±: sample standard deviation over seeds."
    if not results.baselines or not has_differences:
        return text
    return (
        f"{text} {DELTA} {title_of(results.study, results.metric)}: minus that of "
        f"{' or '.join(results.baselines)}, with its 95 % bootstrap interval (resampled by image, "
        "or by recording of events). *: the interval leaves out 0. Of twenty comparisons without "
        "any difference one gets its * by chance, and the interval knows nothing of other seeds."
    )


def _is_chosen(row: Row, chosen: set[str]) -> bool:
    """By its folder, or by its name unless it is an extra run under that name."""
    by_name = row.name in chosen and not row.label
    return by_name or any(run.folder.name in chosen for run in row.runs)
