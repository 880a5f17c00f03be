"""Scores with tiles stand in columns of their own, where a run has some, and change no others."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from comparison_toys import BASELINE, BATCH, LR, OFAT, make_run, matches_of, scores_of
from labbook_toys import declare_studies
from pandas import isna
from rich.console import Console

from labbook.cli import main
from labbook.results.collect import collect
from labbook.results.tables import csv_frame, differences_table, print_table, results_table
from labbook.results.training import analyse, analysis_tables, legend

TILES = {"tiled mAP@0.5": "tiled/AP50", "tiled mAP@0.5:0.95": "tiled/AP", "tiled APs": "tiled/APs"}


def add_run(root: Path, name: str, share: float, tiled: float | None = None, tile: int = 640):
    """A run whose test split was scored with tiles, too; it finds ``tiled`` of 100 then."""
    test = scores_of(matches_of(share, 1))
    if tiled is not None:
        test |= {"tiled/AP50": tiled, "tiled/AP": tiled / 2, "tiled/APs": None}
    config = {"evaluation": {"test": {"tile": tile}}}
    make_run(root, name, share, results={"test": test}, config=config)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two runs with tiles, one without."""
    add_run(tmp_path, BASELINE, 0.5, 60.0)
    add_run(tmp_path, LR, 0.6, 70.0)
    add_run(tmp_path, BATCH, 0.7)
    return tmp_path


def test_tiled_scores_are_columns_of_their_own(root: Path) -> None:
    results = collect(OFAT, root)
    cells = results_table(results).cells.set_index("Experiment")
    assert list(cells["tiled mAP@0.5"]) == ["- / 60.0", "- / 70.0", "-"]
    assert list(cells["tiled mAP@0.5:0.95"]) == ["- / 30.0", "- / 35.0", "-"]
    assert "tiled APs" not in cells  # none of them has any
    plain = results.experiments["test bbox/AP50"]
    shown = [float(cell.split(" / ")[1]) for cell in cells["mAP@0.5"]]
    assert shown == pytest.approx(list(plain), abs=0.06)
    rows = csv_frame(results).set_index("experiment")
    assert rows.at[LR, "tiled mAP@0.5 test minus baseline"] == pytest.approx(10)
    assert isna(rows.at[LR, "tiled mAP@0.5 test minus baseline low"])


def test_their_differences_have_no_interval_of_plain_boxes(root: Path) -> None:
    found = collect(OFAT, root).differences.set_index(["title", "key", "split"])
    tiled, plain = (found.loc[(LR, f"{kind}/AP50", "test")] for kind in ("tiled", "bbox"))
    assert tiled.estimate == pytest.approx(10) and tiled.isna()[["low", "high"]].all()
    assert "resampled" in tiled.reason and plain.notna()[["low", "high"]].all()
    cells = differences_table(collect(OFAT, root)).cells.set_index("Experiment")
    assert cells.at[LR, "tiled mAP@0.5 test"] == "+10.0"


def test_the_main_score_stays_and_runs_without_tiles_show_no_such_column(tmp_path: Path) -> None:
    for name, share in ((BASELINE, 0.5), (LR, 0.6)):
        add_run(tmp_path, name, share)
    without = collect(OFAT, tmp_path)
    assert not [name for name in results_table(without).cells if "tiled" in name]
    add_run(tmp_path, BATCH, 0.7, 99.0)
    results = collect(OFAT, tmp_path)
    assert results.metric == without.metric == "bbox/AP50"
    assert any("tiled" in name for name in results_table(results).cells)
    console = Console(width=100, record=True, file=io.StringIO())
    print_table(results, console)
    assert "tiled" in console.export_text()  # at least said


def test_other_tiles_are_not_compared(root: Path) -> None:
    add_run(root, LR, 0.6, 80.0, tile=320)
    with pytest.raises(ValueError, match=r"tiles on test: 640 px.*320 px"):
        collect(OFAT, root)


def test_analysis_and_report_show_them(root: Path, capsys) -> None:
    analysis = analyse(OFAT, root)
    tables = [table.cells.set_index("Experiment") for table in analysis_tables(analysis)]
    cells = next(table for table in tables if LR in table.index)
    assert cells.at[LR, "tiled mAP@0.5"] == "- / 70.0" and "tiled" in legend(analysis)
    assert "90 % at" in cells and analysis.metric == "bbox/AP50"
    declare_studies(root, "ofat")
    (root / "configs/ofat" / f"{LR}.py").touch()
    assert main(["report", "ofat"], root) == 0, capsys.readouterr().err
    page = (root / "work_dirs/ofat_report.html").read_text("utf-8")
    assert "tiled mAP@0.5" in page and "- / 70.0" in page
