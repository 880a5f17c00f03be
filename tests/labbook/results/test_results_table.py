"""The table is made from run folders alone: on terminals, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from comparison_toys import (
    BASELINE,
    BATCH,
    ETRAM,
    EVALUATION,
    LR,
    OFAT,
    SGD,
    make_run,
    matches_of,
    write_evaluation,
)
from labbook_toys import STUDIES
from pandas import DataFrame
from rich.console import Console

from labbook import cli
from labbook.results.collect import Results, collect
from labbook.results.tables import (
    csv_frame,
    differences_table,
    print_table,
    results_table,
    to_latex,
    write_tables,
)
from labbook.results.text import difference_text, duration
from labbook.results.text_table import TextTable
from runfolder.records import note_micro_batch, write_results

pytestmark = pytest.mark.usefixtures("few_draws")
RESULTS = {
    "valid": {"bbox/AP50": 61.25, "bbox/AP": 30.0, "bbox/APs": None},
    "test": {"bbox/AP50": 59.0, "bbox/AP": 0.0, "bbox/APs": None},
    "best_epoch": 80,
    "best_iteration": 19999,
    "training_seconds": 5000.0,
    "seconds_per_iteration": 0.31416,
    "peak_memory_mb": 7123.4,
    "final_loss": 3.2,
    "parameters": {"trainable": 49_500_000, "frozen": 7_220_000},
}
SCORES = {
    "valid": {"bbox/AP": 30.0, "bbox/AP-small-classes": 12.34},
    "test": {"bbox/AP": 40.0, "bbox/AP-small-classes": None},
    "final_loss": 3.2,
    "best_iteration": 19999,
    "best_epoch": 80,
}
STEP, NOTES = "etram_4scale_100k", "Status, notes"
TARGETS = {"bbox/AP": 35.0, "bbox/AP-small-classes": 12.0, "final_loss": 3.5, "bbox/AP75": 1.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished baseline, a run that goes on, a bundle that failed, and what is no run."""
    root = tmp_path_factory.mktemp("made")
    make_run(root, LR, end="running")
    make_run(root, BASELINE, results=RESULTS)
    bundle = {"factors": ["optimizer", "train.epochs"], "level": "sgd"}
    make_run(root, SGD, end="failed", experiment=bundle)
    make_run(root, "foreign", experiment={"study": "another"})
    (root / "work_dirs" / "not_a_run").mkdir()
    (root / "work_dirs" / "README.md").write_text("text")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def cells(results: Results, name: str = BASELINE) -> dict[str, str]:
    """The row of an experiment as people see it."""
    table = results_table(results).cells
    return table.set_index("Experiment").loc[name].to_dict()


def csv_rows(results: Results) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_frame(results).to_csv(index=False))))


def csv_row(results: Results, name: str) -> dict[str, str]:
    return next(row for row in csv_rows(results) if row["experiment"] == name)


def on_terminal(results: Results, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(results, console)
    return console.export_text()


# Rows --------------------------------------------------------------------------------------------


def test_cells(root: Path) -> None:
    results = collect(OFAT, root, ["ofat_lr0.001_bs32_adamw_ep100"])
    assert cells(results) == {
        "mAP@0.5": "61.2 / 59.0",
        "mAP@0.5:0.95": "30.0 / 0.0",
        "APs": "-",
        "APm": "-",
        "APl": "-",
        "Δ mAP@0.5 valid": "-",
        "Δ mAP@0.5 test": "-",
        "Training time": "1 h 23 min",
        "Best epoch": "80",
        "Final loss": "3.2",
        "s/iteration": "0.314",
        "Peak memory": "7123 MB",
        "Parameters": "49.50 M trainable + 7.22 M frozen",
        NOTES: "finished; baseline",
    }
    assert list(cells(results, LR).values()) == ["-"] * 13 + ["running; optimizer.lr = 0.01"]
    assert cells(results, "ofat_lr0.001_bs32_adamw_ep100")[NOTES] == "not started"
    bundle = cells(results, SGD)[NOTES].split("; ")
    assert bundle == ["FAILED", "bundle: optimizer, train.epochs = sgd", "Not finite."]


def test_csv_has_raw_values_in_the_plans_order(root: Path) -> None:
    died = root / "work_dirs" / BATCH
    died.mkdir()
    (died / "console.txt").write_text("ImportError")
    results = collect(OFAT, root, [LR, BASELINE, BATCH])
    rows = csv_rows(results)
    names = [(row["experiment"], row["status"]) for row in rows]
    assert names == [(BASELINE, "finished"), (LR, "running"), (BATCH, "new"), (SGD, "failed")]
    row = rows[0]
    assert (row["mAP@0.5 valid"], row["mAP@0.5:0.95 test"]) == ("61.25", "0.0")
    assert (row["APs valid"], row["peak_memory_mb"]) == ("", "7123.4")
    assert row["trainable_parameters"] == "49500000"
    assert rows[1]["training_seconds"] == ""
    assert "before it could start" in rows[2]["reason"]
    assert rows[3]["reason"] == "Not finite.\nAt step 7."


def test_what_a_reader_should_know_is_in_the_notes(root: Path) -> None:
    ema = {"ema": {"valid": {"bbox/AP50": 31.0}, "test": {"bbox/AP50": 32.0}}}
    folder = make_run(root, results=RESULTS | ema)
    anew = EVALUATION | {"results": {"AP": 31.0}}
    write_evaluation(folder / "evaluation" / "valid", matches_of(0.5), anew)
    note = cells(collect(OFAT, root))[NOTES]
    assert "EMA: mAP@0.5 31.0 / 32.0" in note
    assert "EVALUATED ANEW" in note and "31.00" in note and "30.00" in note
    note_micro_batch(folder, 1, step=0)
    assert "micro-batch 1, as memory ran out" in cells(collect(OFAT, root))[NOTES]
    (folder / "results.json").unlink()
    assert "WITHOUT results.json" in cells(collect(OFAT, root))[NOTES]


def test_seeds_are_one_row_and_in_csv_also_one_each(tmp_path: Path) -> None:
    for seed, value in enumerate((60.0, 62.0)):
        scores = {"valid": {"bbox/AP50": value}, "test": {"bbox/AP50": value - 1}}
        make_run(tmp_path, seed=seed, results=scores | {"best_epoch": 80 + 2 * seed})
    make_run(tmp_path, seed=2, end="interrupted")
    results = collect(OFAT, tmp_path)
    row = cells(results)
    assert (row["Seeds"], row["mAP@0.5"]) == ("2", "61.0 ± 1.4 / 60.0 ± 1.4")
    assert row["Best epoch"] == "81 ± 1"
    assert row[NOTES].startswith("2 of 3 seeds finished, seed 2 INTERRUPTED;")
    lines = csv_rows(results)
    assert [(line["seed"], line["mAP@0.5 valid"]) for line in lines] == [
        ("0 1 2", "61.0"), ("0", "60.0"), ("1", "62.0"), ("2", "")
    ]  # fmt: skip
    assert [line["finished"] for line in lines] == ["2/3", "1/1", "1/1", "0/1"]
    assert float(lines[0]["mAP@0.5 valid spread"]) == pytest.approx(2**0.5)


# Differences -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """eTraM: a baseline, a clear gain, and a step from there that changes nothing."""
    root = tmp_path_factory.mktemp("ladder")
    classes = {"classes": ["pedestrian"], "small_classes": ["pedestrian"]}
    steps = (
        ("etram_baseline_3scale_100k", 0.4, None),
        ("etram_4scale_100k", 0.8, "etram_baseline_3scale_100k"),
        ("etram_4scale_sizeaware_100k", 0.8, "etram_4scale_100k"),
    )
    for name, share, parent in steps:
        declared = {"parent": parent, "factors": ["x"] if parent else [], "level": "x|y*"}
        make_run(root, name, share, study=ETRAM, experiment=declared, evaluation=classes)
    return root


def test_differences_to_baseline_and_parent(ladder: Path) -> None:
    results = collect(ETRAM, ladder)
    first, second, third = differences_table(results).cells.to_dict("records")
    assert [row["minus"] for row in (first, second, third)] == [
        "etram_baseline_3scale_100k", "etram_baseline_3scale_100k", "etram_4scale_100k"
    ]  # fmt: skip
    cell = re.fullmatch(r"\+(\S+) \[\+(\S+), \+(\S+)\]\*", first["mAP@0.5 valid"])
    assert cell is not None
    estimate, low, high = map(float, cell.groups())
    assert 0 < low < estimate < high
    assert third["mAP@0.5 valid"] == "+0.0 [+0.0, +0.0]"
    assert first["APs valid"] == "-"
    line = csv_row(results, "etram_4scale_sizeaware_100k")
    assert line["mAP@0.5 valid minus parent"] == "0.0"
    assert float(line["mAP@0.5 valid minus baseline low"]) == pytest.approx(low, abs=0.06)
    assert line["baseline"] == "etram_baseline_3scale_100k"
    assert cells(results, "etram_4scale_100k")["Δ mAP@0.5 valid"] == first["mAP@0.5 valid"]
    assert (ladder / "work_dirs" / "etram_intervals.json").is_file()


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((math.nan,) * 4, "-"),
        ((-1.25, math.nan, math.nan, math.nan), "-1.2"),
        ((2.0, 0.5, 0.1, 3.9), "+2.0 ± 0.5 [+0.1, +3.9]*"),
        ((2.0, math.nan, -0.1, 3.0), "+2.0 [-0.1, +3.0]"),
    ],
)
def test_cells_of_differences(numbers: tuple[float, ...], text: str) -> None:
    estimate, spread, low, high = numbers
    found = SimpleNamespace(estimate=estimate, spread=spread, low=low, high=high)
    found.is_marked = low > 0 or high < 0
    assert difference_text(found) == text


def test_runs_that_were_not_made_alike_are_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "configs" / "ofat").mkdir(parents=True)
    (root / "configs" / "ofat" / "baseline_lr0.001_bs8_adamw_ep100.py").touch()
    make_run(root, BATCH, evaluation={"evaluator": "another"})
    assert cli.main(["table", "ofat"], root) == 2
    error = capsys.readouterr().err
    assert "another" in error and BATCH in error and "Traceback" not in error
    assert not (root / "work_dirs" / "ofat_table.md").exists()
    for name in (BATCH, BASELINE, "baseline_lr0.001_bs8_adamw_ep100"):
        assert cli.main(["table", "ofat", "--only", name], root) == 0
    assert cli.main(["table", "ofat", "--only", f"{BATCH}x"], root) == 2
    assert f"Did you mean '{BATCH}'" in capsys.readouterr().err


def test_only_takes_run_folders(root: Path) -> None:
    """Also those of plain Detectron2 runs, which belong to no study."""
    make_run(root, BASELINE, folder="quick", config={"optimizer": {"lr": 1.0}})
    plain = make_run(root, "plain", results=RESULTS)
    (plain / "config.yaml").write_text("train: {seed: 3}")
    assert "plain" not in collect(OFAT, root).experiments.index
    for name in ("quick", BASELINE, "plain"):
        assert [row["folder"] for row in csv_rows(collect(OFAT, root, only=[name]))] == [name]
    assert csv_row(collect(OFAT, root, only=["plain"]), "plain")["mAP@0.5 valid"] == "61.25"


# Formats -----------------------------------------------------------------------------------------


def test_files(ladder: Path, root: Path) -> None:
    paths = write_tables(collect(OFAT, root), root)
    names = [path.relative_to(root).as_posix() for path in paths]
    assert names == [f"work_dirs/ofat_table.{kind}" for kind in ("md", "csv", "tex")]
    assert "| 61.2 / 59.0 |" in paths[0].read_text()
    debug = write_tables(collect(STUDIES["ofat-debug"], root), root)
    assert debug[0] == root / "work_dirs" / "debug" / "ofat_table.md"
    text = write_tables(collect(ETRAM, ladder), ladder)[0].read_text()
    rows = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows[:5]}) == len({len(row) for row in rows[5:]}) == 1
    assert r"x\|y\*" in text


def test_latex(ladder: Path) -> None:
    lines = to_latex(collect(ETRAM, ladder)).splitlines()
    head, *rows = [line for line in lines if line.endswith(r"\\")]
    columns = next(line for line in lines if line.startswith(r"\begin{tabular}"))
    assert {r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"} <= set(lines)
    count = len(columns) - len(r"\begin{tabular}{}")
    assert len(rows) == 3
    assert {len(re.split(r"(?<!\\)&", row)) for row in [head, *rows]} == {count}
    assert r"etram\_4scale\_100k" in rows[1] and r"$\Delta$" in head


def test_latex_escapes_all_that_is_special() -> None:
    text = r"50 % of a_b & {c} #1 $x$ ~ ^ \ < 3 ± 1"
    table = TextTable("", DataFrame({"Δ_": [text]})).to_latex()
    row = next(line for line in table.splitlines() if line.startswith("50"))
    plain = row.replace(r"\textasciitilde", "").replace(r"\textasciicircum", "")
    plain = plain.replace(r"\textbackslash", "").replace(r"$\pm$", "").replace("$<$", "")
    assert len(plain) < len(row) - 50  # all five were there
    assert not re.search(r"(?<!\\)[%_&#$~^±<]", plain.removesuffix(r"\\"))


HOSTILE = [
    *(
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "=cmd|' /C calc'!A0",
        "<script>alert(1)</script>",
    ),
    *("a|b", "\\|", "[x](javascript:alert(1))", "`x`", "a\nb", "&lt;", "1\n\n# title"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_run_folders_stays_text_in_every_file(text: str, root: Path) -> None:
    named = {"level": text, "targets": {text: 1.0}}
    make_run(root, SGD, end="failed", experiment=named)
    make_run(
        root,
        LR,
        experiment=named,
        results={"valid": {f"bbox-{text}/AP50": 2.5}, "final_loss": -1.5},
    )
    page, table, _ = (path.read_text() for path in write_tables(collect(OFAT, root), root))
    lines = [line for line in page.splitlines() if line.startswith("|")]
    rows = [re.split(r"(?<!\\)(?:\\\\)*\|", line) for line in lines]
    assert len(lines) > 4 and len({len(row) for row in rows[:5]}) == 1
    assert not re.search(r"<|(?<!\\)(\]\(|`)", page)
    found = list(csv.reader(io.StringIO(table)))
    fields = [field for row in found for field in row]
    assert any(text in field for field in fields) and "-1.5" in fields
    for field in fields:
        assert not re.match(r"[=+\-@\t\r]", field) or re.fullmatch(r"[-+]?[\d.e+-]+", field)


@pytest.mark.parametrize("width", [60, 80, 120, 200, 400])
def test_any_terminal_shows_the_most_important(ladder: Path, root: Path, width: int) -> None:
    results = collect(ETRAM, ladder)
    text = on_terminal(results, width)
    assert max(map(len, text.splitlines())) <= width
    table, _, said = text.partition("AP in percent")
    first = [title.split()[0] for title in results_table(results).cells]
    assert "small classes" in table and "Status, notes" in table
    assert ("minus that of" in said) == ("Δ mAP@0.5 valid" in table)
    hidden = [word for word in first if word not in table]
    assert bool(hidden) == (width < 400) and all(word in said for word in hidden)
    assert len(re.findall("finished", table)) == 3
    ofat = on_terminal(collect(OFAT, root), width)
    assert "61.2 / 59.0" in ofat and "FAILED" in ofat and "running" in ofat


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_breaks_names_at_underscores(root: Path, width: int) -> None:
    results = collect(OFAT, root)
    lines = on_terminal(results, width).partition("AP in percent")[0].splitlines()
    start = next(i for i, line in enumerate(lines) if "───" in line) + 1
    pieces = [line.split()[0] for line in lines[start:] if line[2:3].strip()]
    assert "".join(pieces) == "".join(results.experiments.index)
    assert len(pieces) > len(results.experiments)
    ends = [piece for piece in pieces if not piece.endswith("_")]
    assert len(ends) == len(results.experiments)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (29.4, "29 s"), (90.0, "2 min"), (3570, "1 h 00 min"), (5000.0, "1 h 23 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


# Targets and steps -------------------------------------------------------------------------------


def etram_run(root: Path, **settings: Any) -> Results:
    """A study with one run, ``etram_4scale_100k``."""
    declared = {"level": "4", "parent": None, "targets": settings.pop("targets", {})}
    train = {"train": {"seed": settings.get("seed", 0), "epochs": settings.pop("epochs", 0)}}
    settings = {"results": SCORES, **settings}
    make_run(root, "etram_4scale_100k", study=ETRAM, experiment=declared, config=train, **settings)
    return collect(ETRAM, root)


def test_small_classes_only_where_the_study_has_them(root: Path) -> None:
    results = etram_run(root)
    assert cells(results, STEP)["small classes"] == "12.3 / -"
    row = csv_rows(results)[0]
    assert (row["small classes valid"], row["small classes test"]) == ("12.34", "")
    assert STUDIES["etram-debug"].extra_metrics == ETRAM.extra_metrics
    others = collect(OFAT, root)
    assert "small classes" not in cells(others)
    assert "small classes valid" not in csv_rows(others)[0]


def test_targets_are_judged_on_valid_by_the_mean_over_seeds(root: Path) -> None:
    expected = [
        "bbox/AP > 35: missed",
        "bbox/AP-small-classes > 12: met",
        "final_loss < 3.5: met",
        "bbox/AP75 > 1: unknown",
    ]
    results = etram_run(root, targets=TARGETS)
    assert cells(results, STEP)[NOTES] == "; ".join(["finished", "4", *expected])
    assert csv_rows(results)[0]["targets"] == "; ".join(expected)
    scores = SCORES | {"valid": {"bbox/AP": 41.0, "bbox/AP-small-classes": 1.0}}
    results = etram_run(root, targets=TARGETS, seed=1, results=scores)
    targets = csv_rows(results)[0]["targets"]
    assert "bbox/AP > 35: met" in targets  # (30 + 41) / 2 = 35.5
    assert "bbox/AP-small-classes > 12: missed" in targets


@pytest.mark.parametrize("end", ["running", "failed"])
def test_targets_before_the_end(root: Path, end: str) -> None:
    folder = root / "work_dirs" / "etram_4scale_100k"
    folder.mkdir()
    write_results(folder, SCORES)  # left by an earlier attempt
    targets = csv_rows(etram_run(root, end=end, targets=TARGETS))[0]["targets"].split("; ")
    assert len(targets) == len(TARGETS)
    assert all(text.endswith(": unknown") for text in targets)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "step 20000"),
        ({"results": SCORES | {"best_iteration": -1}}, "-"),
        ({"epochs": 5}, "80"),
        ({"epochs": 5, "results": SCORES | {"best_iteration": -1, "best_epoch": 0}}, "-"),
        ({"end": "failed"}, "-"),
    ],
)
def test_best_step_of_runs_counted_in_steps(
    root: Path, settings: dict[str, Any], text: str
) -> None:
    assert cells(etram_run(root, **settings), STEP)["Best epoch"] == text


def test_a_damaged_target_hides_no_other_run(root: Path) -> None:
    make_run(root, "etram_baseline_3scale_100k", study=ETRAM, end="running")
    results = etram_run(root, targets={"bbox/AP": "much"})
    assert {row["status"] for row in csv_rows(results)} == {"finished", "running"}
    assert "bbox/AP" in cells(results, STEP)[NOTES]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.yaml", "- a list"),
        ("config.yaml", "experiment: 3"),
        ("config.yaml", "experiment: {study: ofat, targets: [1]}"),
        ("config.yaml", "a: ["),
        ("results.json", '{"valid": [1]}'),
        ("results.json", '{"valid": {"bbox/AP": "x"}}'),
        ("results.json", "[]"),
        ("run.json", "{}"),
        ("run.json", "{"),
    ],
)
def test_a_damaged_file_is_shown_and_hides_no_other_run(root: Path, file: str, text: str) -> None:
    (root / "work_dirs" / LR / file).write_text(text)
    results = collect(OFAT, root)
    row = csv_row(results, LR)
    assert row["status"] == "unreadable" and row["reason"]
    assert csv_row(results, BASELINE)["mAP@0.5 valid"] == "61.25"
    if file == "run.json":  # the config still says whose it is
        assert LR not in collect(ETRAM, root).experiments.index


def test_a_study_without_any_run(tmp_path: Path) -> None:
    results = collect(OFAT, tmp_path, map(OFAT.run_name, OFAT.order))
    assert {row["status"] for row in csv_rows(results)} == {"new"}
    assert "not started" in on_terminal(results, 80)
    assert csv_rows(collect(OFAT, tmp_path)) == []
