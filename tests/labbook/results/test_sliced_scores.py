"""Scores of slices of recordings, as of day and night: columns, intervals, the report."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from comparison_toys import BASELINE, BATCH, EVALUATION, LR, OFAT, make_run, scores_of
from labbook_toys import declare_studies
from pandas import isna
from rich.console import Console

from boxmetrics.bootstrap import bootstrap_difference
from boxmetrics.matches import match_table, save_matches
from boxmetrics.tables import BoxTable, Frame, ImageBoxes
from labbook.cli import main
from labbook.results.collect import collect
from labbook.results.tables import csv_frame, explanation, print_table, results_table

SLICES = {name: [f"test_{name}_{n}" for n in range(8)] for name in ("day", "night")}
SHARES = {
    BASELINE: (0.5, 0.3),
    LR: (0.6, 0.1),
}  # of the objects that are found, by day and by night


def table_of(name: str, *slices: str) -> BoxTable:
    """Five images a recording with an object each, of which the share of the slice is found."""
    box, frames = [[10, 10, 30, 30]], []
    for slice_, share in zip(SLICES, SHARES[name], strict=True):
        for recording in SLICES[slice_] if slice_ in slices or not slices else ():
            for _ in range(5):
                number = len(frames)
                found = int((number * 7) % 40 < share * 40)
                truth = (box, [0], [400], [False])
                image = ImageBoxes(number, box * found, [0.9] * found, [0] * found, *truth)
                frames.append(Frame(image, recording, number))
    return BoxTable.of_frames(frames)


def add_run(root: Path, name: str, is_new: bool) -> None:
    """A run with both slices on test; one that is not new was evaluated anew for them."""
    scores, parts = scores_of(match_table(table_of(name))), {}
    for slice_, recordings in SLICES.items():
        part = scores_of(match_table(table_of(name, slice_)))
        part = {key.removeprefix("bbox/"): value for key, value in part.items()}
        parts[slice_] = {"recordings": recordings, "results": part}
        scores |= {f"bbox-{slice_}/{key}": value for key, value in part.items() if is_new}
    run = make_run(root, name, results={"test": scores})
    save_matches(table_of(name), run / "evaluation/test/matches.npz")
    facts = json.dumps({**EVALUATION, "slices": parts})
    (run / "evaluation/test/evaluation.json").write_text(facts)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two runs with slices."""
    add_run(tmp_path, BASELINE, is_new=False)
    add_run(tmp_path, LR, is_new=True)
    return tmp_path


def test_slices_are_columns_of_their_own(root: Path) -> None:
    results = collect(OFAT, root)
    cells = results_table(results).cells.set_index("Experiment")
    for number, slice_ in enumerate(SLICES):
        expected = [scores_of(match_table(table_of(name, slice_)))["bbox/AP50"] for name in SHARES]
        assert list(cells[f"{slice_} mAP@0.5"]) == [f"- / {score:.1f}" for score in expected]
        assert f"{slice_} mAP@0.5:0.95" in cells and f"{slice_} APs" not in cells
        change = csv_frame(results).set_index("experiment").loc[LR]
        found = change[f"{slice_} mAP@0.5 test minus baseline"]
        assert found == pytest.approx(expected[1] - expected[0]) and (found > 0) is (number == 0)
    assert "Slices (day, night)" in explanation(results)
    console = Console(width=100, record=True, file=io.StringIO())
    print_table(results, console)
    assert "night" in console.export_text()  # at least said


@pytest.mark.parametrize("slice_", SLICES)
def test_intervals_are_those_of_the_slice_alone(root: Path, slice_: str) -> None:
    found = collect(OFAT, root).differences.set_index(["title", "key", "split"])
    row = found.loc[(LR, f"bbox-{slice_}/AP50", "test")]
    tables = [table_of(name, slice_) for name in (LR, BASELINE)]
    groups = tables[0].image_recording
    expected = bootstrap_difference(*map(match_table, tables), groups=groups)
    assert (row.estimate, row.low, row.high) == pytest.approx(tuple(expected))
    whole = found.loc[(LR, "bbox/AP50", "test")]
    assert whole.low < whole.high and (whole.low, whole.high) != (row.low, row.high)
    assert len(np.unique(groups)) == 8


def test_runs_without_slices_stay_in_the_table(root: Path) -> None:
    make_run(root, BATCH, 0.7, evaluation={"classes": ["head"]})
    (root / f"work_dirs/{BATCH}/evaluation/test/matches.npz").unlink()
    results = collect(OFAT, root)
    cells = results_table(results).cells.set_index("Experiment")
    assert cells.at[BATCH, "night mAP@0.5"] == "-" and cells.at[LR, "night mAP@0.5"] != "-"
    rows = results.differences.query("title == @BATCH and key == 'bbox-night/AP50'")
    assert isna(rows["estimate"]).all()


def test_slices_of_other_recordings_are_not_compared(root: Path) -> None:
    path = root / f"work_dirs/{LR}/evaluation/test/evaluation.json"
    facts = json.loads(path.read_text())
    del facts["slices"]["night"]["recordings"][0]
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"slices on test: day 8, night 8 .*; day 8, night 7"):
        collect(OFAT, root)


def test_the_report_shows_them(root: Path, capsys) -> None:
    declare_studies(root, "ofat")
    (root / "configs/ofat" / f"{LR}.py").touch()
    assert main(["report", "ofat"], root) == 0, capsys.readouterr().err
    page = (root / "work_dirs/ofat_report.html").read_text("utf-8")
    assert page.count("night mAP@0.5") >= 2 and "Slices (day, night)" in page
