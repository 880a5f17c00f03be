"""The results of a study as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labbook.results.cells import (
    DELTA,
    change,
    columns_of,
    difference_text,
    metrics_of,
    reasons,
    title_of,
)
from labbook.results.comparison import SPLITS
from labbook.results.differences import Difference, Differences, Entry
from labbook.results.tables import Results, explanation
from labbook.results.terminal import Column
from runfolder.files import write_text

_VALUES = (
    "training_seconds",
    "best_epoch",
    "best_iteration",
    "iterations",
    "seconds_per_iteration",
    "peak_memory_mb",
    "final_loss",
)
_LATEX_RANK = 5
"""A page has room for the columns up to this rank."""
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "²": r"\textsuperscript{2}",
    "<": "$<$",
    ">": "$>$",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def write_tables(results: Results, root: Path) -> list[Path]:
    """Write ``<study>_table.md``, ``.csv`` and ``.tex`` into the study's work folder."""
    study = results.study
    texts = {
        "md": f"# Results of the study {study.name}\n\n{to_markdown(results)}\n\n{legend(results)}",
        "csv": to_csv(results),
        "tex": to_latex(results),
    }
    paths = []
    for kind, text in texts.items():
        paths.append(root / study.work_folder / f"{study.family}_table.{kind}")
        write_text(paths[-1], text)
    return paths


def to_markdown(results: Results) -> str:
    """Two tables: results, valid and test side by side, and differences to baseline and parent."""
    entries = results.entries
    columns = columns_of(results.study, entries, results.metric)
    plain = [column for column in columns if not column.title.startswith(DELTA)]
    parts = [markdown_table([c.title for c in plain], _cells(plain, entries))]
    if differences := list(_difference_rows(results)):
        titles = [f"{title} {split}" for title in metrics_of(results.study) for split in SPLITS]
        parts += ["## Differences", markdown_table(["Experiment", "minus", *titles], differences)]
    return "\n\n".join(parts)


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left, the others to the right."""
    lines = [list(titles), ["---"] + ["---:"] * (len(titles) - 1)]
    lines += [[re.sub(r"([|*])", r"\\\1", cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_csv(results: Results) -> str:
    """One raw value a column; an empty cell is a missing value.

    An experiment with several seeds has a line for their mean and one for each of them.
    """
    lines = [_record(results, entry) for entry in results.entries]
    return csv_text([record for records in lines for record in records])


def csv_text(records: Sequence[dict[str, Any]]) -> str:
    """Records with the same keys as CSV; an empty cell is None."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def to_latex(results: Results) -> str:
    r"""A ``tabular`` with the rules of booktabs, to be ``\input`` into a paper."""
    columns = columns_of(results.study, results.entries, results.metric)
    columns = [column for column in columns if column.rank <= _LATEX_RANK]
    alignment = "".join("l" if column.is_text else "r" for column in columns)
    rows = [
        " & ".join(map(latex_escape, cells)) + r" \\"
        for cells in [[column.title for column in columns], *_cells(columns, results.entries)]
    ]
    lines = [
        r"% Needs \usepackage{booktabs}. Written by tools/lab.py table; made anew each time.",
        *textwrap.wrap(legend(results), 98, initial_indent="% ", subsequent_indent="% "),
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def latex_escape(text: str) -> str:
    """``text`` with all characters that LaTeX takes for commands made printable."""
    return "".join(_LATEX_SPECIAL.get(character, character) for character in text)


def legend(results: Results) -> str:
    """What the files' numbers mean."""
    return f"""{explanation(results)}

"-": not there (yet), or not defined for want of ground truth. A run in capitals did not finish.
Targets are judged on valid, the split that chose the checkpoint, by the mean over seeds;
"unknown": no run has come to its end, or the number is not defined.
Differences: estimate, spread (sample standard deviation of the differences between runs of the
same seed), [95 % bootstrap interval] where the score can be resampled ({_resampled(results)}).
"""


def _resampled(results: Results) -> str:
    found = {
        title_of(results.study, key)
        for entry in results.entries
        for (_, key), difference in entry.to_baseline.items()
        if difference.bounds
    }
    return ", ".join(sorted(found)) or "none here: evaluation/<split>/matches.npz is needed"


def _cells(columns: Sequence[Column], entries: Sequence[Entry]) -> list[list[str]]:
    return [[column.cell(entry) for column in columns] for entry in entries]


def _difference_rows(results: Results) -> Iterator[list[str]]:
    """For each experiment one row against the baseline and, where it is another, the parent."""
    keys = [(split, key) for key in metrics_of(results.study).values() for split in SPLITS]
    for entry in results.entries:
        against = ((entry.baseline, entry.to_baseline), (entry.parent, entry.to_parent))
        for reference, found in against:
            if reference is not None:
                cells = [difference_text(found.get(place)) for place in keys]
                yield [entry.row.title, reference.title, *cells]


def _record(results: Results, entry: Entry) -> Iterator[dict[str, Any]]:
    """The line of an experiment and, of several seeds, one of each run."""
    yield _line(results, entry)
    if len(entry.row.runs) > 1:
        for run in entry.row.runs:
            row = replace(entry.row, runs=(run,), label="")
            yield _line(results, replace(entry, row=row, to_baseline={}, to_parent={}))


def _line(results: Results, entry: Entry) -> dict[str, Any]:
    row, metrics = entry.row, metrics_of(results.study)
    line: dict[str, Any] = {
        "experiment": row.name,
        "folder": " ".join(run.folder.name for run in row.runs),
        "seed": " ".join(str(run.seed) for run in row.runs if run.seed is not None),
        "finished": f"{len(row.finished)}/{len(row.runs)}",
        "status": _status(entry),
        "change": change(row),
        "baseline": entry.baseline.name if entry.baseline else None,
        "parent": row.experiment.get("parent"),
    }
    for title, key in metrics.items():
        for split in SPLITS:
            score = row.score(split, key)
            line |= {f"{title} {split}": score.mean, f"{title} {split} spread": score.spread}
    for name, found in (("baseline", entry.to_baseline), ("parent", entry.to_parent)):
        line |= _differences(metrics, found, f"minus {name}")
    line |= {key: row.measure(key).mean for key in _VALUES}
    line |= {f"{kind}_parameters": row.parameters(kind) for kind in ("trainable", "frozen")}
    return line | {"targets": "; ".join(row.targets()), "reason": "; ".join(reasons(row))}


def _differences(
    metrics: dict[str, str], found: Differences, versus: str
) -> dict[str, float | str | None]:
    cells: dict[str, float | str | None] = {}
    for title, key in metrics.items():
        for split in SPLITS:
            one = found.get((split, key), Difference())
            name = f"{title} {split} {versus}"
            low, high = one.bounds or (None, None)
            cells |= {name: one.estimate, f"{name} spread": one.spread}
            cells |= {f"{name} low": low, f"{name} high": high}
    return cells


def _status(entry: Entry) -> str:
    row = entry.row
    if row.damage:
        return "unreadable"
    return " ".join(dict.fromkeys(run.status for run in row.runs)) or "new"
