"""The report on a tree of experiments, made once for all of a module that look at it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from report_html import Element, parse
from report_toys import ETRAM, make_study

from boxmetrics.bootstrap import bootstrap_difference
from labbook.report.data import ReportData, report_data
from labbook.report.page import write_report
from labbook.results.collect import Results, collect
from labbook.results.intervals import IntervalCache

IMAGES = 24


@pytest.fixture(autouse=True, scope="module")
def few_draws() -> Iterator[None]:
    """A tenth of the usual ones: how intervals are shown does not depend on their number."""
    few = partial(bootstrap_difference, repeats=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntervalCache.__init__, "__defaults__", (few,))
        yield


@pytest.fixture(scope="module")
def etram_results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    """All experiments of a tree, two seeds each, and the root folder."""
    root = tmp_path_factory.mktemp("etram")
    study = make_study(root, "etram", seeds=2, images=IMAGES)
    return collect(study, root, map(study.run_name, ETRAM)), root


@pytest.fixture(scope="module")
def etram_data(etram_results: tuple[Results, Path]) -> ReportData:
    """What the report is made from."""
    return report_data(*etram_results)


@pytest.fixture(scope="module")
def etram(etram_results: tuple[Results, Path], etram_data: ReportData) -> tuple[Path, Element]:
    """The root folder, and the page."""
    write_report(*etram_results)
    return etram_data.root, parse((etram_data.folder / "etram_report.html").read_text("utf-8"))
