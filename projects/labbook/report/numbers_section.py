"""The results table and how the runs learned, as the other commands tell it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from labbook.report.elements import Cell, Section, details, join, paragraph, table, tag
from labbook.report.evidence import Evidence
from labbook.results.analysis import Analysed, analyse
from labbook.results.analysis_tables import batch_columns, legend, run_columns
from labbook.results.cells import STATUS_TEXT, columns_of
from labbook.results.comparison import Row
from labbook.results.tables import explanation
from labbook.results.terminal import Column

_HIGHEST_RANK = 8
"""Of the columns that a page has room for."""


def results_section(evidence: Evidence) -> Section:
    """What ``lab.py table`` shows; its notes are under the runs."""
    results = evidence.results
    first, *others = columns_of(results.study, results.entries, results.metric)
    shown = [column for column in others if not column.is_text]
    names = [_name(evidence, entry.row) for entry in results.entries]
    content = _table("Scores and costs", first.title, names, shown, results.entries)
    return Section("results", "Results", explanation(results), content)


def training_section(evidence: Evidence) -> Section:
    """What ``lab.py analyse`` shows."""
    lead = (
        "How fast and how steadily each run learned, from its log, factor by factor; unfinished "
        "runs too."
    )
    folders = {run.folder for row in evidence.rows for run in row.runs}
    if not folders:
        return Section("training", "Training", lead, paragraph("No run has started."))
    analysis = analyse(evidence.study, evidence.root)

    def kept(items: Sequence[Analysed]) -> list[Analysed]:
        return [item for item in items if item.run.folder in folders]

    parts = [
        _runs_table(evidence, part.title, run_columns(), kept(part.runs))
        for part in analysis.sections
        if kept(part.runs)
    ]
    if by_batch := kept(analysis.by_batch()):
        title = "Memory and time against batch size"
        parts.append(_runs_table(evidence, title, batch_columns(), by_batch))
    lines = [line.removeprefix("- ") for line in legend(analysis).splitlines()]
    parts.append(details("How these are defined", join(paragraph(line) for line in lines)))
    return Section("training", "Training", lead, join(parts))


def _runs_table(
    evidence: Evidence, caption: str, known: Sequence[Column], runs: Sequence[Analysed]
) -> Markup:
    """A line for each run; the experiment, wherever it stands, comes first."""
    names = []
    for item in runs:
        full = item.row.title
        name = item.title.replace(full, evidence.label(item.row), 1).replace("seed ", "seed\xa0")
        names.append(Cell(name, hint=full))
    shown = [column for column in known if not column.is_text]
    return _table(caption, "Experiment", names, shown, runs)


def _table(
    caption: str, first: str, names: Sequence[Cell], known: Sequence[Column], items: Sequence[Any]
) -> Markup:
    shown = [column for column in known if column.rank <= _HIGHEST_RANK]
    return table(
        caption,
        [first, *(column.title for column in shown)],
        [
            [name, *(_cell(column.cell(item)) for column in shown)]
            for name, item in zip(names, items, strict=True)
        ],
    )


def _name(evidence: Evidence, row: Row) -> Cell:
    """The short name, and below it what has not finished."""
    open_runs = dict.fromkeys(STATUS_TEXT[run.status] for run in row.runs if not run.is_finished)
    status = ", ".join(open_runs) or ("" if row.runs else STATUS_TEXT["new"])
    text = tag("span", evidence.label(row))
    return Cell(text + (tag("small", status) if status else ""), hint=row.title)


def _cell(text: str) -> Cell:
    return Cell(text, "none" if text == "-" else "")
