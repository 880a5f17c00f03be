"""The page: all sections, in one file that needs neither server nor network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from labbook.called import lab
from labbook.report.curves import cost_charts, learning_curves
from labbook.report.data import ReportData, errors_file, report_data
from labbook.report.effects import effect_charts
from labbook.report.error_tables import error_tables
from labbook.report.errors import IOU, MIN_SCORE
from labbook.report.gallery import SHOWN, gallery
from labbook.report.summary import summary
from labbook.results.collect import Results
from labbook.results.intervals import LEVEL
from labbook.results.rules import rules_of
from labbook.results.tables import NOTES, explanation, results_table
from labbook.results.text import STATUS_TEXT, duration, number
from labbook.results.training import analyse_runs, analysis_tables, legend
from runfolder.files import write_text
from runfolder.run import Run

_TOO_WIDE = ("APm", "APl", "Parameters", NOTES)
"""Columns of the results that a page has no room for; the notes are told in its last section."""
_FILES = {
    "config": "config.yaml",
    "log": "log.txt",
    "record": "run.json",
    "results": "results.json",
    "metrics": "metrics.json",
    "evaluation": "evaluation",
}
"""Links to files of a run, where they are there."""
_TEMPLATES = Environment(
    loader=PackageLoader("labbook.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"number": number, "duration": duration}


def write_report(results: Results, root: Path) -> list[Path]:
    """Write ``<family>_report.html`` and ``<family>_errors.json`` into the study's work folder."""
    data = report_data(results, root)
    page = data.folder / f"{results.study.family}_report.html"
    write_text(page, render(data))
    return [page, errors_file(results, root)]


def render(data: ReportData) -> str:
    """The page as text."""
    runs = data.results.runs
    finished = runs.loc[runs["finished"], "run"]  # all agree in the rules, as the table checks
    return _TEMPLATES.get_template("page.html.j2").render(
        data=data,
        lab=lab,
        study=data.results.study,
        score=data.score_title(data.metric),
        labels=data.labels,
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rules={"iou": IOU, "min_score": MIN_SCORE, "level": LEVEL, "shown": SHOWN},
        summary=summary(data),
        results=results_table(data.results).without(_TOO_WIDE).cells.set_index("Experiment"),
        explanation=explanation(data.results),
        effects=effect_charts(data),
        curves=learning_curves(data),
        training=training_tables(data),
        costs=cost_charts(data),
        errors=error_tables(data),
        gallery=gallery(data),
        runs=run_list(data),
        made_by=rules_of(finished.iloc[0]) if len(finished) else {},
    )


def training_tables(data: ReportData) -> dict[str, Any]:
    """What ``lab.py analyse`` shows of the runs of this report."""
    runs = data.results.runs.dropna(subset="run")
    if runs.empty:
        return {"tables": []}
    analysis = analyse_runs(data.results.study, runs)
    names = {
        label: label.replace(title, data.labels[title], 1)
        for label, title in zip(analysis.runs["label"], runs["title"], strict=True)
    }
    tables = [(t.title, t.cells.set_index("Experiment")) for t in analysis_tables(analysis)]
    return {"tables": tables, "names": names, "legend": legend(analysis)}


def run_list(data: ReportData) -> list[dict[str, Any]]:
    """A line for each run folder, or for an experiment without one."""
    runs = data.results.runs
    lines = []
    for row in runs.itertuples():
        folder = row.run.folder if row.run else None
        paths = {text: folder / name for text, name in _FILES.items()} if folder else {}
        is_one_of_many = row.run and (runs["title"] == row.title).sum() > 1
        lines.append(
            {
                **row._asdict(),
                "name": data.labels[row.title] + (f", seed {row.seed}" if is_one_of_many else ""),
                "link": _link(data, folder) if folder else "",
                "status": STATUS_TEXT[row.status],
                "reason": row.reason.partition("\n")[0],
                "code": _code(row.run),
                "files": {text: _link(data, path) for text, path in paths.items() if path.exists()},
            }
        )
    return lines


def _link(data: ReportData, path: Path) -> str:
    target = quote(Path(os.path.relpath(path, data.folder)).as_posix())
    return target + ("/" if path.is_dir() else "")


def _code(run: Run | None) -> str:
    """The version of the code that a run started with."""
    code: Mapping[str, Any] = run.record.code if run and run.record else {}
    commit = str(code.get("commit") or "-")[:10]
    return commit + (" + changes" if code.get("uncommitted_changes") else "")
