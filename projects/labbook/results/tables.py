"""The table of a study's results: on the terminal, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame
from rich.console import Console

from labbook.called import lab
from labbook.results.collect import Results
from labbook.results.frames import MEASURES, PARAMETERS, SPLITS, experiments_frame
from labbook.results.rules import evaluated_since
from labbook.results.text import (
    STATUS_TEXT,
    TILED,
    difference_text,
    duration,
    number,
    pair,
    slice_of,
    sliced_metrics,
    tiled_metrics,
    title_of,
)
from labbook.results.text_table import TextTable, markdown, print_texts, to_csv, write_texts

DELTA = "Δ"
NOTES = "Status, notes"
_NOTES_WIDTH = 24
_FOR_WIDE_PAGES = ("Parameters", "APl", "APm", "Final loss", "s/iteration", "Peak memory")
"""The columns that a printed page has no room for, nor a narrow terminal."""


def print_table(results: Results, console: Console | None = None) -> None:
    """Show the table on the terminal; a narrow one gets the most important columns only."""
    console = console or Console()
    table = results_table(results)
    hidden = table.print(console)
    has_differences = not all(name in hidden for name in table.cells if name.startswith(DELTA))
    print_texts(console, explanation(results, has_differences), table.said(hidden))


def write_tables(results: Results, root: Path) -> list[Path]:
    """Write ``<study>_table.md``, ``.csv`` and ``.tex`` into the study's work folder."""
    study, table = results.study, results_table(results)
    texts = {
        "md": "\n\n".join([f"# {table.title}", to_markdown(results), markdown(legend(results))]),
        "csv": to_csv(csv_frame(results)),
        "tex": to_latex(results),
    }
    return write_texts(study, root, "table", texts)


def results_table(results: Results) -> TextTable:
    """A row for each experiment; what none of them has gets no column."""
    study = results.study
    deltas = {split: f"{DELTA} {title_of(study, results.metric)} {split}" for split in SPLITS}
    own = set(dict(study.extra_metrics)) or {"mAP@0.5", "mAP@0.5:0.95"}  # these always stay
    last = ("APs", "mAP@0.5", "Seeds", deltas["valid"], "mAP@0.5:0.95")
    further = (*TILED, *sliced_metrics(study, results.runs))
    order = (*_FOR_WIDE_PAGES, "Best epoch", deltas["test"], "Training time", *further, *last)
    return TextTable(
        f"Results of the study {study.title}",
        DataFrame([_cells(results, title, deltas) for title in results.experiments.index]),
        left=("Experiment", NOTES),
        dispensable=[name for name in order if name not in own],
        folds={NOTES: _NOTES_WIDTH},
    )


def differences_table(results: Results) -> TextTable:
    """A row for each experiment and the one that it is compared with."""
    columns = {
        (split, key): f"{title} {split}"
        for title, key in results.metrics.items()
        for split in SPLITS
    }
    groups = results.differences.groupby(["title", "against"], sort=False)
    rows = [
        {"Experiment": title, "minus": against}
        | {columns.get((f.split, f.key), ""): difference_text(f) for f in group.itertuples()}
        for (title, against), group in groups
    ]
    cells = DataFrame(rows, columns=["Experiment", "minus", *columns.values()])
    return TextTable("Differences", cells, left=("Experiment", "minus"))


def to_markdown(results: Results) -> str:
    """Two tables: results, valid and test side by side, and differences to baseline and parent."""
    table, differences = results_table(results), differences_table(results)
    plain = table.without([name for name in table.cells if name.startswith(DELTA)])
    parts = [plain.to_markdown()]
    if len(differences.cells):
        parts += ["## Differences", differences.to_markdown()]
    return "\n\n".join(parts)


def to_latex(results: Results) -> str:
    r"""A ``tabular`` with the rules of booktabs, to be ``\input`` into a paper."""
    head = rf"% Needs \usepackage{{booktabs}}. Written by {lab('table')}; made anew each time."
    said = textwrap.fill(legend(results), 98, initial_indent="% ", subsequent_indent="% ")
    table = results_table(results).without(_FOR_WIDE_PAGES)
    return f"{head}\n{said}\n{table.to_latex()}"


def csv_frame(results: Results) -> DataFrame:
    """One raw value a column, empty where it is missing.

    An experiment with several seeds has a line for their mean and one for each of them.
    """
    lines = []
    names = results.experiments["experiment"]
    for title, runs in results.runs.groupby("title", sort=False):
        row = results.experiments.loc[title]
        baseline = names.get(row["baseline"])
        found = results.differences[results.differences["title"] == title]
        lines.append(_line(row, baseline, results, found))
        if len(runs) > 1:
            single = experiments_frame(runs.assign(title=runs["folder"]))
            lines += [_line(one, baseline, results, found[:0]) for _, one in single.iterrows()]
    return DataFrame(lines, dtype=object)


def explanation(results: Results, has_differences: bool = True) -> str:
    """What the numbers of the table mean, in a few sentences; of differences if it has such."""
    text = "AP in percent, valid / test; the checkpoint is the best on valid."
    if (results.experiments["finished"] > 1).any():
        text += " ±: sample standard deviation over seeds."
    if tiled_metrics(results.runs):
        text += " Tiled: on overlapping tiles and the whole image."
    if sliced := sliced_metrics(results.study, results.runs):
        names = ", ".join(dict.fromkeys(slice_of(key)[0] for key in sliced.values()))
        text += f" Slices ({names}): of the recordings in them alone."
    if not results.baselines or not has_differences:
        return text
    return (
        f"{text} {DELTA} {title_of(results.study, results.metric)}: minus that of "
        f"{' or '.join(results.baselines)}, with its 95 % bootstrap interval (resampled by image, "
        "or by recording of events). *: the interval leaves out 0. Of twenty comparisons without "
        "any difference one gets its * by chance, and the interval knows nothing of other seeds."
    )


def legend(results: Results) -> str:
    """What the files' numbers mean."""
    known = results.differences.query("role == 'baseline' and low.notna()")["key"].unique()
    resampled = ", ".join(sorted(title_of(results.study, key) for key in known))
    return f"""{explanation(results)}

"-": not there (yet), or not defined for want of ground truth. A run in capitals did not finish.
Targets are judged on valid, the split that chose the checkpoint, by the mean over seeds;
"unknown": no run has come to its end, or the number is not defined.
Differences: estimate, spread (sample standard deviation of the differences between runs of the
same seed), [95 % bootstrap interval] where the score can be resampled
({resampled or "none here: evaluation/<split>/matches.npz is needed"}).
"""


def _cells(results: Results, title: str, deltas: Mapping[str, str]) -> dict[str, str]:
    """The row of one experiment; ``deltas`` are titles of columns by split."""
    row = results.experiments.loc[title]
    has_seeds = (results.experiments["finished"] > 1).any()
    found = results.differences[results.differences["title"] == title].set_index("split")
    main = found[(found["role"] == "baseline") & (found["key"] == results.metric)]
    cells = {"Experiment": title} | ({"Seeds": str(row["finished"])} if has_seeds else {})
    for name, key in results.metrics.items():
        cells[name] = pair(row, f"{{}} {key}")
    for split, name in deltas.items():
        cells[name] = difference_text(main.loc[split]) if len(main) else "-"
    return cells | {
        "Training time": duration(row["training_seconds"]),
        "Best epoch": _best(row),
        "Final loss": number(row["final_loss"], "{:.3g}", row["final_loss spread"]),
        "s/iteration": number(row["seconds_per_iteration"], "{:.3g}"),
        "Peak memory": number(row["peak_memory_mb"], "{:.0f} MB"),
        "Parameters": _parameters(row),
        NOTES: notes(row, results),
    }


def notes(row: Any, results: Results) -> str:
    """Status, what the experiment changes, its targets, and what a reader should know."""
    averaged = pair(row, f"ema {{}} {results.metric}")
    parts = [_status(row), row["change"], *row["targets"]]
    parts += [f"EMA: {title_of(results.study, results.metric)} {averaged}"] * (averaged != "-")
    lowered = dict.fromkeys(run.lowered_micro_batch for run in row["runs"])
    parts += [f"micro-batch {size}, as memory ran out" for size in lowered if size]
    parts += [evaluated_since(run) for run in row["runs"] if run.is_finished]
    parts += [reason.splitlines()[0] for reason in row["reasons"]]
    return "; ".join(filter(None, parts))


def _best(row: Any) -> str:
    """The best epoch or, of runs that are counted in steps, the best step from 1 on."""
    best, spread = row["best_iteration"], row["best_iteration spread"]
    if best < 0:  # no evaluation gave a score
        return "-"
    if not row["counts_steps"]:
        return number(row["best_epoch"], "{:.0f}", row["best_epoch spread"])
    return "-" if pd.isna(best) else f"step {number(best + 1, '{:.0f}', spread)}"


def _parameters(row: Any) -> str:
    counts = {name.partition("_")[0]: row[name] for name in PARAMETERS}
    return " + ".join(f"{n / 1e6:.2f} M {kind}" for kind, n in counts.items() if n > 0) or "-"


def _status(row: Any) -> str:
    runs, finished = row["runs"], row["finished"]
    if len(runs) < 2:
        is_bare = row["status"] == "finished" and not finished
        return STATUS_TEXT[row["status"]] + (", but WITHOUT results.json" if is_bare else "")
    if finished == len(runs):
        return f"finished, {len(runs)} seeds"
    others = [f"seed {run.seed} {STATUS_TEXT[run.status]}" for run in runs if not run.is_finished]
    return f"{finished} of {len(runs)} seeds finished, {', '.join(others)}"


def _line(row: Any, baseline: str | None, results: Results, found: DataFrame) -> dict[str, Any]:
    """A line of the CSV file, with the differences ``found``."""
    runs, metrics = row["runs"], results.metrics
    line = {
        "experiment": row["experiment"],
        "folder": " ".join(run.label for run in runs),
        "seed": " ".join(str(run.seed) for run in runs if run.seed is not None),
        "finished": f"{row['finished']}/{len(runs)}",
        "status": row["status"],
        "change": row["change"],
        "baseline": baseline,
        "parent": row["parent"],
    }
    for (title, key), split, end in product(metrics.items(), SPLITS, ("", " spread")):
        line[f"{title} {split}{end}"] = row[f"{split} {key}{end}"]
    known = {(one.role, one.key, one.split): one for one in found.itertuples()}
    for role, (title, key), split in product(("baseline", "parent"), metrics.items(), SPLITS):
        one, name = known.get((role, key, split)), f"{title} {split} minus {role}"
        line[name] = one.estimate if one else None
        line |= {f"{name} {e}": one and getattr(one, e) for e in ("spread", "low", "high")}
    texts = {"targets": "; ".join(row["targets"]), "reason": "; ".join(row["reasons"])}
    counts = {name: int(row[name]) if row[name] >= 0 else None for name in PARAMETERS}
    return line | row[list(MEASURES)].to_dict() | counts | texts
