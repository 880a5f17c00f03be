"""The table is made from run folders alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from labbook.records import finish_record, start_record, write_results
from labbook.studies import STUDIES, Study
from labbook.tables import Row, collect, print_table, to_csv, to_markdown, write_tables

STUDY = STUDIES["ofat"]
ETRAM = STUDIES["etram"]
BASELINE = "ofat_baseline_lr0.001_bs8_adamw_ep100"
LR = "ofat_lr0.01_bs8_adamw_ep100"
SGD = "ofat_lr0.001_bs8_sgd_ep100"
RESULTS = {
    "valid": {"bbox/AP50": 61.25, "bbox/AP": 30.0, "bbox/APs": None},
    "test": {"bbox/AP50": 59.0, "bbox/AP": 0.0, "bbox/APs": None},
    "best_epoch": 80,
    "best_iteration": 19999,
    "training_seconds": 5000.0,
    "seconds_per_iteration": 0.31416,
    "peak_memory_mb": 7123.4,
}
SCORES = {
    "valid": {"bbox/AP": 30.0, "bbox/AP-small-classes": 12.34},
    "test": {"bbox/AP": 40.0, "bbox/AP-small-classes": None},
    "final_loss": 3.2,
}
TARGETS = {"bbox/AP": 35.0, "bbox/AP-small-classes": 12.0, "final_loss": 3.5, "bbox/AP75": 1.0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_run(tmp_path, LR, factors=["optimizer.lr"], level=0.01)
    make_run(tmp_path, BASELINE, "finished", level="baseline")
    make_run(tmp_path, SGD, "failed", factors=["optimizer", "train.epochs"], level="sgd")
    make_run(tmp_path, "foreign", "finished", study="another")
    (tmp_path / "work_dirs" / "not_a_run").mkdir()
    (tmp_path / "work_dirs" / "README.md").write_text("text")
    return tmp_path


def make_run(
    root: Path,
    name: str,
    end: str | None = None,
    study: str = "ofat",
    epochs: int = 100,
    results: dict[str, Any] | None = None,
    **declared: object,
) -> Path:
    folder = root / "work_dirs" / name
    start_record(folder, ["train"])
    experiment = {"name": name, "study": study, **declared}
    config = {"experiment": experiment, "train": {"epochs": epochs}}
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
    if end:
        finish_record(folder, end, "the loss is not finite\nat step 7")
    if end == "finished":
        write_results(folder, RESULTS | (results or {}))
    return folder


def test_rows_in_the_plans_order_with_the_missing_ones(root: Path) -> None:
    rows = collect(STUDY, root, [LR, BASELINE, "ofat_lr0.001_bs16_adamw_ep100"])
    assert [(row.experiment, row.status) for row in rows] == [
        (BASELINE, "finished"),
        (LR, "running"),
        ("ofat_lr0.001_bs16_adamw_ep100", "new"),
        (SGD, "failed"),
    ]


def test_markdown(root: Path) -> None:
    lines = to_markdown(STUDY, collect(STUDY, root, ["ofat_lr0.001_bs32_adamw_ep100"])).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][:4] == ["Experiment", "mAP@0.5", "mAP@0.5:0.95", "APs"]
    assert cells[2] == [
        BASELINE, "61.2 / 59.0", "30.0 / 0.0", "-", "1 h 23 min", "80", "0.314", "7123 MB",
        "finished; baseline",
    ]  # fmt: skip
    assert cells[3][1:] == ["-"] * 7 + ["running; optimizer.lr = 0.01"]
    assert cells[4][-1] == "not started"
    bundle = "FAILED; bundle: optimizer, train.epochs = sgd; the loss is not finite"
    assert cells[5][-1] == bundle


def test_csv_has_raw_values(root: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(STUDY, collect(STUDY, root)))))
    assert rows[0]["mAP@0.5 valid"] == "61.25"
    assert rows[0]["mAP@0.5:0.95 test"] == "0.0"
    assert (rows[0]["APs valid"], rows[0]["peak_memory_mb"]) == ("", "7123.4")
    assert rows[1]["training_seconds"] == ""


def test_damaged_and_second_folders_are_shown(root: Path) -> None:
    (root / "work_dirs" / LR / "run.json").write_text("{")
    second = make_run(root, "ofat_again", level="baseline")
    text = (second / "config.yaml").read_text().replace("ofat_again", BASELINE)
    (second / "config.yaml").write_text(text)
    rows = {row.folder: row for row in collect(STUDY, root)}
    assert rows[LR].status == "unreadable"
    assert "not JSON" in str(rows[LR].reason)
    assert f"{BASELINE} (ofat_again)" in to_markdown(STUDY, list(rows.values()))


def test_a_run_that_died_before_its_record(root: Path) -> None:
    name = "ofat_lr0.001_bs16_adamw_ep100"
    (root / "work_dirs" / name).mkdir()
    (root / "work_dirs" / name / "console.txt").write_text("ImportError")
    row = next(row for row in collect(STUDY, root, [name]) if row.experiment == name)
    assert (row.status, row.reason) == ("new", "ended before it could start")


def test_files_and_terminal(root: Path) -> None:
    rows = collect(STUDY, root)
    paths = write_tables(STUDY, rows, root)
    assert [path.relative_to(root).as_posix() for path in paths] == [
        "work_dirs/ofat_table.md",
        "work_dirs/ofat_table.csv",
    ]
    assert "61.2 / 59.0" in paths[0].read_text()
    console = Console(width=200, record=True, file=io.StringIO())
    print_table(STUDY, rows, console)
    assert "61.2 / 59.0" in console.export_text()
    debug = write_tables(STUDIES["ofat-debug"], [], root)
    assert debug[0] == root / "work_dirs" / "debug" / "ofat_table.md"


def etram_run(root: Path, **settings: Any) -> list[Row]:
    """Rows of a study with one run, ``etram_4scale_100k``."""
    settings = {"end": "finished", "epochs": 0, "results": SCORES, "level": "4"} | settings
    make_run(root, "etram_4scale_100k", study="etram", **settings)
    return collect(ETRAM, root)


def cells(rows: list[Row], study: Study = ETRAM) -> dict[str, str]:
    """Cells of the first run by column title."""
    titles, _, first, *_ = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in to_markdown(study, rows).splitlines()
    )
    return dict(zip(titles, first, strict=True))


def csv_rows(rows: list[Row], study: Study = ETRAM) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(study, rows))))


def test_small_classes_only_where_the_study_has_them(root: Path) -> None:
    rows = etram_run(root)
    assert list(cells(rows))[3:5] == ["APs", "small classes"]
    assert cells(rows)["small classes"] == "12.3 / -"
    row = csv_rows(rows)[0]
    assert (row["small classes valid"], row["small classes test"]) == ("12.34", "")
    assert STUDIES["etram-debug"].extra_metrics == ETRAM.extra_metrics
    others = collect(STUDY, root)
    assert "small classes" not in cells(others, STUDY)
    assert "small classes valid" not in csv_rows(others, STUDY)[0]


@pytest.mark.parametrize("width", [80, 300])
def test_small_classes_on_terminals(root: Path, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(ETRAM, etram_run(root), console)
    text = console.export_text()
    assert "small classes" in text
    assert "12.3 / -" in text
    assert ("A terminal of" in text) == (width == 80)


def test_targets_are_judged_on_valid(root: Path) -> None:
    expected = [
        "bbox/AP > 35: missed",
        "bbox/AP-small-classes > 12: met",
        "final_loss < 3.5: met",
        "bbox/AP75 > 1: unknown",
    ]
    rows = etram_run(root, targets=TARGETS)
    assert cells(rows)["Status, notes"] == "; ".join(["finished", "4", *expected])
    assert csv_rows(rows)[0]["targets"] == "; ".join(expected)
    assert "judged on valid" in write_tables(ETRAM, rows, root)[0].read_text()


@pytest.mark.parametrize("end", [None, "failed"])
def test_targets_before_the_end(root: Path, end: str | None) -> None:
    folder = root / "work_dirs" / "etram_4scale_100k"
    folder.mkdir()
    write_results(folder, SCORES)  # left by an earlier attempt
    row = etram_run(root, end=end, targets=TARGETS)[0]
    assert len(row.targets) == len(TARGETS)
    assert all(text.endswith(": unknown") for text in row.targets)


def test_a_damaged_target_hides_no_other_run(root: Path) -> None:
    make_run(root, "etram_baseline_3scale_100k", study="etram")
    rows = etram_run(root, targets={"bbox/AP": "much"})
    assert sorted(row.status for row in rows) == ["running", "unreadable"]


def test_best_step_of_runs_counted_in_steps(root: Path) -> None:
    assert cells(etram_run(root))["Best epoch"] == "step 20000"
    assert cells(etram_run(root, results={"best_iteration": -1}))["Best epoch"] == "-"
    assert cells(etram_run(root, epochs=5))["Best epoch"] == "80"
    assert csv_rows(etram_run(root))[0]["best_iteration"] == "19999"
