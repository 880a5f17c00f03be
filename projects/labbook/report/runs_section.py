"""What each experiment asks, where its runs lie, and by which rules the numbers were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from labbook.report.elements import Cell, Section, bullets, join, table, tag
from labbook.report.evidence import Evidence
from labbook.results.cells import STATUS_TEXT, change, duration, reasons
from labbook.results.comparison import Row
from labbook.results.rules import rules_of
from runfolder.run import Run

_FILES = {
    "config": "config.yaml",
    "log": "log.txt",
    "record": "run.json",
    "results": "results.json",
    "metrics": "metrics.json",
}
"""Links to files of a run, where they are there."""


def section(evidence: Evidence) -> Section:
    """Experiments, runs, rules."""
    lead = "Links lead to the run folders beside this page; they work where those folders are."
    parts = [
        tag("h3", "What each experiment asks"),
        table(
            "Experiments, what they change and what was expected",
            ["Experiment", "Changes", "Hypothesis", "Targets"],
            [_question(evidence, row) for row in evidence.rows],
            texts=["Changes", "Hypothesis", "Targets"],
        ),
        tag("h3", "Run folders"),
        table(
            "Runs and their files",
            ["Run", "Status", "Seed", "Code", "Training", "Files"],
            [_run(evidence, row, run) for row in evidence.rows for run in (row.runs or (None,))],
            texts=["Status", "Code", "Files"],
        ),
        tag("h3", "How the numbers were made"),
        bullets(_rules(evidence)),
    ]
    return Section("runs", "Experiments and runs", lead, join(parts))


def _question(evidence: Evidence, row: Row) -> list[object]:
    parent = row.experiment.get("parent")
    known = next((evidence.label(other) for other in evidence.rows if other.name == parent), parent)
    name = tag("span", evidence.label(row)) + tag("small", row.title)
    moved = tag("span", change(row)) + (tag("small", f"of {known}") if parent else "")
    targets = join(tag("div", text) for text in row.targets())
    return [Cell(name), Cell(moved), row.experiment.get("hypothesis", ""), targets]


def _run(evidence: Evidence, row: Row, run: Run | None) -> list[object]:
    """A line for a run, or for an experiment that has none."""
    if run is None:
        return [evidence.label(row), row.damage or STATUS_TEXT["new"], "-", "-", "-", ""]
    status = tag("span", STATUS_TEXT[run.status])
    if not run.is_finished and reasons(row):
        status += tag("small", reasons(row)[0].splitlines()[0])
    files = {title: run.folder / name for title, name in _FILES.items()}
    files |= {"evaluation": run.folder / "evaluation"}
    links = [_link(evidence, path, title) for title, path in files.items() if path.exists()]
    name = evidence.label(row) + (f", seed {run.seed}" if len(row.runs) > 1 else "")
    seconds = run.results.get("training_seconds") if run.is_finished else None
    return [
        Cell(_link(evidence, run.folder, name) + tag("small", run.folder.name)),
        Cell(status, "" if run.is_finished else "worse"),
        "-" if run.seed is None else str(run.seed),
        _code(run),
        duration(seconds),
        Markup(", ").join(links),
    ]


def _link(evidence: Evidence, path: Path, text: str) -> Markup:
    target = quote(path.relative_to(evidence.folder).as_posix())
    return tag("a", text, href=target + ("/" if path.is_dir() else ""))


def _code(run: Run) -> str:
    """The version of the code that a run started with."""
    code: dict[str, Any] = run.record.code if run.record else {}
    commit = str(code.get("commit") or "-")[:10]
    return commit + (" + changes" if code.get("uncommitted_changes") else "")


def _rules(evidence: Evidence) -> list[str]:
    """On which data and by which rules; all finished runs agree in them, as the table checks."""
    run = next((run for row in evidence.rows for run in row.finished), None)
    if run is None:
        return ["No run has finished."]
    return [f"{name}: {value}" for name, value in rules_of(run).items()]
