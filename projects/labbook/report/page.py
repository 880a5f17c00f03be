"""The page: all sections, in one file that needs neither server nor network."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from labbook.report import (
    costs,
    curves,
    effects,
    error_section,
    gallery,
    numbers_section,
    runs_section,
    summary,
)
from labbook.report.elements import Section
from labbook.report.evidence import Evidence, evidence_of
from labbook.results.tables import Results
from runfolder.files import write_text

SECTIONS: tuple[Callable[[Evidence], Section], ...] = (
    summary.section,
    numbers_section.results_section,
    effects.section,
    curves.section,
    numbers_section.training_section,
    costs.section,
    error_section.section,
    gallery.section,
    runs_section.section,
)


def write_report(results: Results, root: Path) -> list[Path]:
    """Write ``<family>_report.html`` and ``<family>_errors.json`` into the study's work folder."""
    evidence = evidence_of(results, root)
    page = evidence.folder / f"{evidence.study.family}_report.html"
    write_text(page, render(evidence))
    return [page, evidence.errors_file]


def render(evidence: Evidence) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("labbook", "report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return environment.get_template("template.html.j2").render(
        title=f"Report on the study {evidence.study.name}",
        facts=facts(evidence),
        style=Markup(style),
        sections=[make(evidence) for make in SECTIONS],
    )


def facts(evidence: Evidence) -> str:
    """When the page was made, and by which rules its numbers."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Made from the run folders on {now}. AP in percent."
