"""Which runs are one experiment, what it descends from, and its numbers over seeds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from comparison_toys import BASELINE, LR, OFAT, frames_of, make_run
from pandas import DataFrame, isna

from labbook.results.frames import curves_frame, declared_metric, experiments_frame, runs_frame
from labbook.results.runs import read_runs
from runfolder.run import Run

AP50 = "valid bbox/AP50"


def ap50(value: float | None) -> dict[str, Any]:
    return {"valid": {"bbox/AP50": value}, "test": {"bbox/AP50": value}}


# Seeds -------------------------------------------------------------------------------------------


def test_seeds_of_an_experiment_are_one_row_with_mean_and_spread(tmp_path: Path) -> None:
    for seed, value in enumerate((60.0, 62.0, None, 64.0)):  # None: undefined, not zero
        make_run(tmp_path, seed=seed, results=ap50(value))
    make_run(tmp_path, seed=4, end="failed")
    runs, experiments = frames_of(tmp_path)
    assert list(runs["seed"]) == [0, 1, 2, 3, 4]
    assert list(experiments.index) == [BASELINE]
    row = experiments.loc[BASELINE]
    assert (row[AP50], row[f"{AP50} spread"], row["finished"]) == (62.0, 2.0, 4)
    assert isna(row["valid bbox/APs"]) and isna(row["valid bbox/APs spread"])
    assert row["status"] == "finished failed" and len(row["runs"]) == 5


def test_what_only_changes_how_a_run_is_carried_out_is_no_other_experiment(tmp_path: Path) -> None:
    make_run(tmp_path, results=ap50(60.0))
    row = frames_of(tmp_path)[1].loc[BASELINE]
    assert row[AP50] == 60.0 and isna(row[f"{AP50} spread"])  # a single seed has none
    loader = {"seed": 1, "mapper": {"seed": 1}, "num_workers": 0, "train": {"num_workers": 0}}
    make_run(tmp_path, seed=1, config={"dataloader": loader})
    assert list(frames_of(tmp_path)[1]["finished"]) == [2]


@pytest.mark.parametrize(
    ("seed", "config"),
    [
        (1, {"optimizer": {"lr": 0.5}}),
        (1, {"dataset": {"seed": 3}}),  # a seed, but not this run's
        (1, {"dataloader": {"seed": 1, "mapper": {"seed": 7}}}),
        (0, {}),  # the same seed twice is no second seed
    ],
)
def test_other_runs_of_that_name_are_rows_of_their_own(
    tmp_path: Path, seed: int, config: dict[str, Any]
) -> None:
    make_run(tmp_path, config={"dataset": {"seed": 5}} if "dataset" in config else {})
    make_run(tmp_path, seed=seed, folder="quick", config=config)
    experiments = frames_of(tmp_path)[1]
    assert list(experiments.index) == [BASELINE, f"{BASELINE} (quick)"]
    assert list(experiments["baseline"]) == [None, BASELINE]


def test_rows_do_not_depend_on_the_order_of_folders(tmp_path: Path) -> None:
    for name, seed in ((BASELINE, 0), (BASELINE, 1), (BASELINE, 2), (LR, 0)):
        make_run(tmp_path, name, seed=seed)
    runs = read_runs(OFAT, tmp_path)[0]
    expected = runs_frame(OFAT, runs)
    random.Random(0).shuffle(runs)
    assert runs_frame(OFAT, runs).equals(expected)
    assert (declared_metric([]), declared_metric(runs)) == ("bbox/AP", "bbox/AP50")


def test_a_plain_run_belongs_to_the_study_that_knows_its_folder(tmp_path: Path) -> None:
    folder = make_run(tmp_path, LR)
    (folder / "config.yaml").write_text("train: {seed: 3}")
    assert frames_of(tmp_path)[0].empty
    row = frames_of(tmp_path, names=[LR])[1].loc[LR]
    assert (row["finished"], row["change"], row["baseline"]) == (1, "", None)


# Family ------------------------------------------------------------------------------------------


def tree(*names: str, **parents: str | None) -> DataFrame:
    """Experiments by name with their parent; ``names`` have no run."""
    runs = [
        Run(Path(name), {"experiment": {"name": name, "parent": parent}}, "finished")
        for name, parent in parents.items()
    ]
    return experiments_frame(runs_frame(OFAT, runs, names))


@pytest.mark.parametrize(
    ("frame", "family"),
    [
        (tree(a=None, b="a", c="b"), {"a": (None, None), "b": ("a", "a"), "c": ("a", "b")}),
        (tree("b", a=None, c="b"), {"c": ("a", "b")}),  # a missing link leads to the only root
        (tree(a=None, c="b"), {"c": ("a", "a")}),
        (tree(a=None, other=None, c="b"), {"c": (None, None)}),
        (tree(a="b", b="a"), {"a": (None, "b"), "b": (None, "a")}),  # a circle ends
    ],
)
def test_whom_an_experiment_is_compared_with(frame: DataFrame, family: dict[str, Any]) -> None:
    for name, pair in family.items():
        assert (frame.at[name, "baseline"], frame.at[name, "reference"]) == pair
    assert tree(a=None, b="a", c="b").at["c", "ancestors"] == ("b", "a")


# Curves ------------------------------------------------------------------------------------------


def test_a_curve_is_read_by_step_and_keeps_what_is_not_finite(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"iteration": 19, "loss": 2.0},
        {"iteration": 9, "loss": 3.0},
        {"iteration": 9, "loss": 4.0},  # logged twice: the last counts
        {"iteration": 29, "loss": None},
        {"iteration": 39, "other": 1.0},
        {"iteration": "x", "loss": 1.0},
        {"loss": 1.0},
    ]
    make_run(tmp_path, lines=lines)
    curve = curves_frame(frames_of(tmp_path)[0], ["loss"])
    assert list(curve["iteration"]) == [9, 19, 29]
    assert list(curve["value"][:2]) == [4.0, 2.0] and isna(curve["value"].iloc[2])
    assert curves_frame(frames_of(tmp_path)[0], ["nothing"]).empty
