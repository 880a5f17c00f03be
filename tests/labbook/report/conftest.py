"""The report on a tree of experiments, made once for all that look at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_html import Element, parse
from report_toys import ETRAM, make_study

from labbook.report.data import ReportData, report_data
from labbook.report.page import write_report
from labbook.results.collect import collect

IMAGES = 24


@pytest.fixture(scope="session")
def etram_data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """What it is made from: all experiments of a tree, two seeds each."""
    root = tmp_path_factory.mktemp("etram")
    study = make_study(root, "etram", seeds=2, images=IMAGES)
    results = collect(study, root, map(study.run_name, ETRAM))
    write_report(results, root)
    return report_data(results, root)


@pytest.fixture(scope="session")
def etram(etram_data: ReportData) -> tuple[Path, Element]:
    """The root folder, and the page."""
    file = etram_data.folder / "etram_report.html"
    return etram_data.root, parse(file.read_text("utf-8"))
