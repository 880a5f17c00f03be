"""What curves say, on curves whose answer is known, and how a study is laid out by factor."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_toys import BASELINE, BATCH, LR, OFAT, make_run
from labbook_toys import declare_studies
from rich.console import Console

from labbook import cli
from labbook.results.analysis import analyse
from labbook.results.analysis_tables import print_analysis, to_csv, to_markdown
from labbook.results.curves import (
    Measure,
    curve_of,
    gradient_stability,
    moving_median,
    oscillation,
    overfitting_step,
    plateau_step,
    steps_to_converge,
)


def curve(*values: float, every: int = 10) -> list[tuple[int, float]]:
    """Values logged at the end of every tenth step."""
    return [(every * (index + 1) - 1, value) for index, value in enumerate(values)]


def noise(spread: float, count: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, spread, count)


# Reading -----------------------------------------------------------------------------------------


def test_a_curve_is_read_by_step_and_counts_what_is_not_finite() -> None:
    lines: list[dict[str, Any]] = [
        {"iteration": 19, "loss": 2.0},
        {"iteration": 9, "loss": 3.0},
        {"iteration": 9, "loss": 4.0},
        {"iteration": 29, "loss": None},
        {"iteration": 39, "other": 1.0},
        {"iteration": "x", "loss": 1.0},
        {"loss": 1.0},
    ]
    assert curve_of(lines, "loss") == ([(9, 4.0), (19, 2.0)], 1)
    assert curve_of([], "loss") == ([], 0)


def test_moving_median() -> None:
    assert moving_median([5.0, 1.0, 2.0, 9.0, 3.0], 3) == [5.0, 2.0, 2.0, 3.0, 3.0]
    line = [float(x) for x in range(9)]
    assert moving_median(line, 5) == line
    assert moving_median([], 3) == []


# Speed and plateau -------------------------------------------------------------------------------


def test_steps_to_converge() -> None:
    assert steps_to_converge(curve(10, 40, 54, 60, 58)) == Measure(30)
    assert steps_to_converge(curve(60)) == Measure(10)
    assert steps_to_converge(curve(0, 0)).value is None
    assert steps_to_converge([]) == Measure(None, "no score yet")


def test_the_plateau_of_an_exponential_is_where_half_a_point_is_left() -> None:
    scores = [60 * (1 - math.exp(-step / 20)) for step in range(200)]
    found = plateau_step(curve(*scores))
    left = max(scores) - np.array(scores)
    assert found.value == 10 * (int(np.argmax(left < 0.5)) + 1)


@pytest.mark.parametrize("scores", [range(100), [0.0] * 95 + [50.0] * 5, [50.0]])
def test_no_plateau_while_it_rises(scores: list[float]) -> None:
    assert plateau_step(curve(*scores)) == Measure(None, "still rising")


def test_a_score_that_falls_again_is_flat_from_its_best() -> None:
    assert plateau_step(curve(*range(50), *range(50, 0, -1))).value == pytest.approx(510)


# Oscillation -------------------------------------------------------------------------------------


def test_oscillation_of_noise_is_its_median_deviation() -> None:
    losses = curve(*np.exp(noise(0.05)))
    found = oscillation(losses).value
    # A little less than the noise's own: the median takes part of it for trend.
    assert found == pytest.approx(0.6745 * 0.05, rel=0.15)


def test_oscillation_knows_neither_scale_nor_trend_nor_schedule() -> None:
    wiggle = np.exp(noise(0.05))
    steps = np.arange(len(wiggle))
    plain = oscillation(curve(*wiggle)).value
    assert oscillation(curve(*(7 * wiggle))).value == pytest.approx(plain)
    falling = oscillation(curve(*(wiggle * np.exp(-steps / 500)))).value
    assert falling == pytest.approx(plain, rel=0.02)
    dropped = oscillation(curve(*(wiggle * np.where(steps > 1400, 0.3, 1)))).value
    assert dropped == pytest.approx(plain, rel=0.02)
    assert oscillation(curve(*np.exp(-steps / 100))).value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("losses", "reason"), [([1.0] * 43, "fewer"), ([1.0] * 90 + [0.0], "above")]
)
def test_oscillation_is_not_defined(losses: list[float], reason: str) -> None:
    found = oscillation(curve(*losses))
    assert found.value is None and reason in found.reason


# Gradients ---------------------------------------------------------------------------------------


def test_gradient_stability() -> None:
    assert gradient_stability(curve(*[3.0] * 50)) == Measure(1.0)
    bursts = [1.0] * 90 + [8.0] * 10
    assert gradient_stability(curve(*bursts)).value == pytest.approx(8.0)
    assert gradient_stability(curve(*(5 * np.array(bursts)))).value == pytest.approx(8.0)
    warm = curve(*[100.0] * 20, *[2.0] * 80)
    assert gradient_stability(warm, warmup=200) == Measure(1.0)
    assert gradient_stability(warm, warmup=900).value is None
    assert gradient_stability(curve(*[0.0] * 30)).reason == "the median norm is 0"


# Overfitting -------------------------------------------------------------------------------------


def test_overfitting_starts_at_the_minimum() -> None:
    losses = [1 + (step - 12) ** 2 / 100 for step in range(20)]
    assert overfitting_step(curve(*losses)) == Measure(130)
    assert overfitting_step(curve(*(9 * np.array(losses)))) == Measure(130)


@pytest.mark.parametrize(
    "losses",
    [
        [1 / (1 + step) for step in range(20)],  # falls
        [1.0] * 20,
        [1.0] * 10 + [1.015] * 10,  # within 2 %
        [1.0] * 10 + [2.0] + [1.0] * 9,  # one outlier
        [1.0] * 19 + [2.0],
        [1.0] * 5 + [1.5] * 5 + [0.9] * 10,  # comes down again
    ],
)
def test_no_overfitting(losses: list[float]) -> None:
    assert overfitting_step(curve(*losses)) == Measure(None, "not seen")


def test_overfitting_is_not_defined() -> None:
    assert "fewer than 6" in overfitting_step(curve(1, 2, 3, 4, 5)).reason
    assert "above 0" in overfitting_step(curve(*[0.0] * 10)).reason


# A study -----------------------------------------------------------------------------------------


def log(seconds: float, memory: float, steps: int = 100) -> list[dict[str, Any]]:
    """A log of ten steps an epoch: AP50 reaches 90 % at epoch 5, the loss turns up after 6."""
    lines = []
    for step in range(steps):
        line = {"iteration": step, "total_loss": 2.0, "grad_norm": 1.0, "time": seconds}
        line["memory_mb"] = min(memory, 10.0 * step)
        if step % 10 == 9:
            epoch = (step + 1) // 10
            line |= {"bbox/AP50": min(50.0, 9.0 * epoch)}
            line |= {"validation/total_loss": 1 + abs(epoch - 6) / 10}
        lines.append(line)
    return lines


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A baseline, two batch sizes (one with two seeds, one unfinished) and a learning rate."""
    train = {"best_metric": "bbox/AP50", "epochs": 10, "iterations_per_epoch": 10, "seed": 0}
    for name, batch, lines, end in (
        (BASELINE, 8, log(0.5, 400.0), "finished"),
        ("ofat_lr0.001_bs32_adamw_ep100", 32, log(1.5, 900.0, 40), "running"),
        (BATCH, 16, log(0.8, 700.0), "finished"),
        (LR, 8, [], "finished"),
    ):
        settings = {**train, "total_batch_size": batch, "micro_batch_size": 2, "seed": 0}
        declared = None
        if batch > 8:
            declared = {"factors": ["train.total_batch_size"], "level": batch, "parent": BASELINE}
        make_run(
            tmp_path,
            name,
            end=end,
            experiment=declared,
            config={"train": settings},
            lines=lines,
            results={"training_seconds": 60.0},
        )
    seeded = {**train, "total_batch_size": 16, "micro_batch_size": 2, "seed": 1}
    make_run(tmp_path, BATCH, seed=1, config={"train": seeded}, lines=log(0.9, 710.0))
    return tmp_path


def test_sections_by_factor(root: Path) -> None:
    sections = analyse(OFAT, root).sections
    assert {section.title: [item.title for item in section.runs] for section in sections} == {
        "optimizer.lr": [BASELINE, LR],
        "train.total_batch_size": [
            BASELINE,
            f"{BATCH} seed 0",
            f"{BATCH} seed 1",
            "ofat_lr0.001_bs32_adamw_ep100 (running)",
        ],
    }


def test_a_bundle_is_called_one_and_a_lonely_run_has_a_place(tmp_path: Path) -> None:
    make_run(tmp_path)
    (alone,) = analyse(OFAT, tmp_path).sections
    assert alone.title == "no factor"
    make_run(tmp_path, LR, experiment={"factors": ["optimizer.lr", "train.epochs"]})
    (bundle,) = analyse(OFAT, tmp_path).sections
    assert bundle.title == "bundle: optimizer.lr, train.epochs"


def test_measures_of_runs(root: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(analyse(OFAT, root)))))
    by_folder = {row["folder"]: row for row in rows}
    assert len(rows) == 5
    base = by_folder[BASELINE]
    assert (base["steps_to_converge"], base["overfitting_step"]) == ("50", "60")
    assert (base["plateau_step"], base["oscillation"]) == ("60", "0.0")
    assert (base["seconds_per_iteration"], base["images_per_second"]) == ("0.5", "16.0")
    assert (base["peak_memory_mb"], base["gradient_stability"]) == ("400.0", "1.0")
    empty = by_folder[LR]
    assert (empty["steps"], empty["steps_to_converge"]) == ("0", "")
    assert "steps_to_converge: no score yet" in empty["missing"]
    assert "peak_memory_mb: not logged" in empty["missing"]


def test_memory_and_time_against_batch_size(root: Path) -> None:
    analysis = analyse(OFAT, root)
    items = analysis.by_batch()
    assert [item.batch for item in items] == [8, 8, 16, 16, 32]
    assert [item.measures["peak_memory_mb"].value for item in items[2:4]] == [700.0, 710.0]
    markdown = to_markdown(analysis)
    assert "## Memory and time against batch size" in markdown
    assert f"| 16 | 2 | {BATCH} seed 0 | 700 MB | 0.8 | 20 | 1 min |" in markdown
    assert (
        "| 32 | 2 | ofat_lr0.001_bs32_adamw_ep100 (running) | 390 MB | 1.5 | 21.3 | - |" in markdown
    )


def test_places_name_the_epoch(root: Path) -> None:
    markdown = to_markdown(analyse(OFAT, root))
    assert f"| {BASELINE} | 50 (5) | 60 (6) | 0.0% | 1.00 | 60 (6) |" in markdown
    assert "Flat from" in markdown and '"rising"' in markdown


@pytest.mark.parametrize("width", [80, 120, 200])
def test_terminals(root: Path, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    print_analysis(analyse(OFAT, root), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "train.total_batch_size" in text and "90 % at" in text
    assert ("A terminal of" in text) == (width < 200)


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    declare_studies(root, "ofat", "etram")
    assert cli.main(["analyse", "ofat"], root) == 0
    assert "work_dirs/ofat_analysis.csv" in capsys.readouterr().out
    assert (root / "work_dirs" / "ofat_analysis.md").read_text().startswith("# How the runs")
    assert cli.main(["analyse", "etram"], root) == 2
    assert "has no runs" in capsys.readouterr().err
