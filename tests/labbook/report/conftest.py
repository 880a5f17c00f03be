"""The report on a tree of experiments, made once for all tests, which only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from comparison_toys import with_few_draws
from report_html import Element, parse
from report_toys import ETRAM, make_study

from labbook.report.data import ReportData, report_data
from labbook.report.page import write_report
from labbook.results.collect import Results, collect

IMAGES = 12


@pytest.fixture(autouse=True, scope="module")
def quick_intervals(few_draws: None) -> None:
    """For all that is below."""


@pytest.fixture(scope="session")
def etram_results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    """All experiments of a tree, two seeds each, and the root folder."""
    root = tmp_path_factory.mktemp("etram")
    study = make_study(root, "etram", seeds=2, images=IMAGES)
    with with_few_draws():
        return collect(study, root, map(study.run_name, ETRAM)), root


@pytest.fixture(scope="session")
def etram_data(etram_results: tuple[Results, Path]) -> ReportData:
    """What the report is made from."""
    return report_data(*etram_results)


@pytest.fixture(scope="session")
def etram(etram_results: tuple[Results, Path], etram_data: ReportData) -> tuple[Path, Element]:
    """The root folder, and the page."""
    write_report(*etram_results)
    return etram_data.root, parse((etram_data.folder / "etram_report.html").read_text("utf-8"))
