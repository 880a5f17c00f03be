"""What curves say, on curves whose answer is known, and how a study is laid out by factor."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_toys import BASELINE, BATCH, LR, OFAT, SGD, make_run
from labbook_toys import declare_studies
from pandas import DataFrame, Series
from rich.console import Console

from labbook import cli
from labbook.results.measures import (
    Measure,
    gradient_stability,
    moving_median,
    oscillation,
    overfitting_step,
    plateau_step,
    steps_to_converge,
)
from labbook.results.training import analyse, analysis_tables, print_analysis
from runfolder.records import note_micro_batch


def curve(*values: float) -> Series:
    """Values logged at the end of every tenth step."""
    return Series(values, [10 * index + 9 for index in range(len(values))], dtype=float)


def noise(spread: float, count: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, spread, count)


def test_moving_median() -> None:
    found = moving_median(np.array([5.0, 1.0, 2.0, 9.0, 3.0]), 3)
    assert found.tolist() == [5.0, 2.0, 2.0, 3.0, 3.0]
    line = np.arange(9.0)
    assert moving_median(line, 5).tolist() == line.tolist()
    assert moving_median(line[:0], 3).size == 0


# Speed and plateau -------------------------------------------------------------------------------


def test_steps_to_converge() -> None:
    assert steps_to_converge(curve(10, 40, 54, 60, 58)) == Measure(30)
    assert steps_to_converge(curve(60)) == Measure(10)
    assert steps_to_converge(curve(0, 0)).value is None
    assert steps_to_converge(curve()) == Measure(None, "no score yet")


def test_the_plateau_of_an_exponential_is_where_half_a_point_is_left() -> None:
    scores = [60 * (1 - math.exp(-step / 20)) for step in range(200)]
    found = plateau_step(curve(*scores))
    left = max(scores) - np.array(scores)
    assert found.value == 10 * (int(np.argmax(left < 0.5)) + 1)


@pytest.mark.parametrize("scores", [range(100), [0.0] * 95 + [50.0] * 5, [50.0]])
def test_no_plateau_while_it_rises(scores: list[float]) -> None:
    assert plateau_step(curve(*scores)) == Measure(None, "still rising")
    falls_again = curve(*range(50), *range(50, 0, -1))
    assert plateau_step(falls_again).value == pytest.approx(510)  # flat from its best


# Oscillation -------------------------------------------------------------------------------------


def test_oscillation_of_noise_knows_neither_scale_nor_trend_nor_schedule() -> None:
    wiggle = np.exp(noise(0.05))
    steps = np.arange(len(wiggle))
    plain = oscillation(curve(*wiggle)).value
    # A little less than the noise's own deviation: the median takes part of it for trend.
    assert plain == pytest.approx(0.6745 * 0.05, rel=0.15)
    assert oscillation(curve(*(7 * wiggle))).value == pytest.approx(plain)
    for trend in (np.exp(-steps / 500), np.where(steps > 1400, 0.3, 1)):
        assert oscillation(curve(*(wiggle * trend))).value == pytest.approx(plain, rel=0.02)
    assert oscillation(curve(*np.exp(-steps / 100))).value == pytest.approx(0, abs=1e-9)


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
    flat = curve(*[20.0] * 20)
    assert overfitting_step(curve(*losses), flat) == Measure(130)
    assert overfitting_step(curve(*(9 * np.array(losses))), flat) == Measure(130)
    assert overfitting_step(curve(*losses), curve()) == Measure(130)


def test_a_loss_that_rises_with_the_score_is_no_overfitting() -> None:
    losses = [1 + (step - 12) ** 2 / 100 for step in range(20)]
    assert overfitting_step(curve(*losses), curve(*range(20))) == Measure(None, "not seen")


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ([1 / (1 + step) for step in range(20)], "not seen"),  # falls
        ([1.0] * 20, "not seen"),
        ([1.0] * 10 + [1.015] * 10, "not seen"),  # within 2 %
        ([1.0] * 10 + [2.0] + [1.0] * 9, "not seen"),  # one outlier
        ([1.0] * 19 + [2.0], "not seen"),
        ([1.0] * 5 + [1.5] * 5 + [0.9] * 10, "not seen"),  # comes down again
        ([1.0, 2.0, 3.0, 4.0, 5.0], "fewer than 6 validation losses"),
        ([0.0] * 10, "a loss is not above 0"),
    ],
)
def test_no_overfitting(losses: list[float], reason: str) -> None:
    assert overfitting_step(curve(*losses), curve()) == Measure(None, reason)


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


_BATCHES = {"factors": ["train.total_batch_size"], "parent": BASELINE}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A baseline, two batch sizes (one with two seeds, one unfinished) and a learning rate."""
    train = {"best_metric": "bbox/AP50", "epochs": 10, "iterations_per_epoch": 10}
    for name, seed, batch, lines, end in (
        (BASELINE, 0, 8, log(0.5, 400.0), "finished"),
        ("ofat_lr0.001_bs32_adamw_ep100", 0, 32, log(1.5, 900.0, 40), "running"),
        (BATCH, 0, 16, log(0.8, 700.0), "finished"),
        (BATCH, 1, 16, log(0.9, 710.0), "finished"),
        (LR, 0, 8, [], "finished"),
    ):
        settings = {"total_batch_size": batch, "micro_batch_size": 2, "seed": seed}
        make_run(
            tmp_path,
            name,
            seed=seed,
            end=end,
            experiment={**_BATCHES, "level": batch} if batch > 8 else None,
            config={"train": train | settings},
            lines=lines,
            results={"training_seconds": 60.0},
        )
    return tmp_path


def shown(root: Path) -> dict[str, DataFrame]:
    """The cells of all tables by title."""
    return {table.title: table.cells for table in analysis_tables(analyse(OFAT, root))}


def test_sections_by_factor(root: Path) -> None:
    found = shown(root)
    del found["Memory and time against batch size"]
    assert {title: list(cells["Experiment"]) for title, cells in found.items()} == {
        "optimizer.lr": [BASELINE, LR],
        "train.total_batch_size": [
            BASELINE,
            f"{BATCH} seed 0",
            f"{BATCH} seed 1",
            "ofat_lr0.001_bs32_adamw_ep100 (running)",
        ],
    }


def test_sections_of_bundles_lonely_runs_and_a_factor_moved_twice(tmp_path: Path) -> None:
    make_run(tmp_path)
    assert analyse(OFAT, tmp_path).sections == [("no factor", [BASELINE])]
    bundle = {"factors": ["optimizer.lr", "train.epochs"]}
    make_run(tmp_path, SGD, experiment=bundle)
    assert list(shown(tmp_path)) == ["bundle: optimizer.lr, train.epochs"]
    make_run(tmp_path, LR)
    make_run(tmp_path, BATCH, experiment={"factors": ["optimizer.lr"], "parent": LR})
    assert analyse(OFAT, tmp_path).sections == [
        ("optimizer.lr", [BASELINE, LR]),
        ("optimizer.lr", [LR, BATCH]),
        ("bundle: optimizer.lr, train.epochs", [BASELINE, SGD]),
    ]


def test_measures_of_runs(root: Path) -> None:
    runs = analyse(OFAT, root).runs
    measured = {
        "steps": 100,
        "steps_to_converge": 50,
        "overfitting_step": 60,
        "plateau_step": 60,
        "oscillation": 0.0,
        "gradient_stability": 1.0,
        "seconds_per_iteration": 0.5,
        "images_per_second": 16.0,
        "peak_memory_mb": 400.0,
        "not_finite_losses": 0,
    }
    assert len(runs) == 5
    assert runs.loc[BASELINE, list(measured)].to_dict() == measured
    empty = runs.loc[LR]
    assert (empty["steps"], empty["steps_to_converge"]) == (0, None)
    assert "steps_to_converge: no score yet" in empty["missing"]
    assert "peak_memory_mb: not logged" in empty["missing"]
    make_run(root, lines=[{"iteration": step, "total_loss": None} for step in range(3)])
    broken = analyse(OFAT, root).runs.loc[BASELINE]
    assert (broken["steps"], broken["not_finite_losses"]) == (0, 3)


def test_cells(root: Path) -> None:
    tables = shown(root)
    cells = tables["Memory and time against batch size"].to_numpy().tolist()
    assert [row[0] for row in cells] == ["8", "8", "16", "16", "32"]
    assert cells[2] == ["16", "2", f"{BATCH} seed 0", "700 MB", "0.8", "20", "1 min"]
    assert cells[4][3:] == ["390 MB", "1.5", "21.3", "-"]  # not finished
    base = tables["optimizer.lr"].iloc[0]
    places = base[["90 % at", "Flat from", "Overfits from"]]
    assert list(places) == ["50 (5)", "60 (6)", "60 (6)"]  # steps and epochs
    assert (base["Oscillation"], base["Gradient bursts"]) == ("0.0%", "1.00")
    assert tables["train.total_batch_size"]["Flat from"].iloc[-1] == "rising"
    note_micro_batch(root / "work_dirs" / f"{BATCH}_seed2", 1, step=0)
    cells = shown(root)["Memory and time against batch size"].to_numpy().tolist()
    assert [row[1] for row in cells] == ["2", "2", "1 (lowered)", "2", "2"]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_terminals(root: Path, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    print_analysis(analyse(OFAT, root), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "train.total_batch_size" in text and "90 % at" in text
    assert ("NaN losses" in text.partition("From metrics.json")[0]) == (width == 200)
    assert "NaN losses" in text


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    declare_studies(root, "ofat", "etram")
    assert cli.main(["analyse", "ofat"], root) == 0
    assert "work_dirs/ofat_analysis.csv" in capsys.readouterr().out
    lines = (root / "work_dirs" / "ofat_analysis.csv").read_text().splitlines()
    assert len(lines) == 6 and "50" in lines[1].split(",")  # steps stay whole numbers
    assert f"| {BASELINE} " in (root / "work_dirs" / "ofat_analysis.md").read_text()
    assert cli.main(["analyse", "etram"], root) == 2
    assert "no runs" in capsys.readouterr().err
