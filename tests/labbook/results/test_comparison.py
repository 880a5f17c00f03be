"""Which runs are one experiment, what they are compared with, and what must not be compared."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_toys import (
    BASELINE,
    BATCH,
    ETRAM,
    EVALUATION,
    LR,
    SGD,
    make_run,
    matches_of,
    rows_of,
    write_evaluation,
)

from labbook.config.studies import STUDIES
from labbook.results.comparison import (
    Row,
    Summary,
    ancestry,
    baseline_of,
    declared_metric,
    group_runs,
    parent_of,
    seed_differences,
    summarise,
)
from labbook.results.differences import Difference, compare, difference
from labbook.results.intervals import Bounds, IntervalCache, bootstrap_arguments
from labbook.results.rules import check_comparable, evaluated_since
from labbook.results.runs import read_runs
from runfolder.run import Run


def ap50(value: float | None) -> dict[str, Any]:
    return {"valid": {"bbox/AP50": value}, "test": {"bbox/AP50": value}}


# Seeds -------------------------------------------------------------------------------------------


def test_mean_and_spread() -> None:
    assert summarise([60.0, 62.0, None, 64.0]) == Summary(62.0, 2.0, 3)
    assert summarise([60.0, math.nan]) == Summary(60.0, None, 1)
    assert summarise([]) == Summary(None, None, 0)


def test_seeds_of_an_experiment_are_one_row(tmp_path: Path) -> None:
    for seed, value in enumerate((60.0, 62.0, 64.0)):
        make_run(tmp_path, seed=seed, results=ap50(value))
    make_run(tmp_path, seed=3, end="failed")
    (row,) = rows_of(tmp_path)
    assert [run.seed for run in row.runs] == [0, 1, 2, 3]
    assert row.score("valid", "bbox/AP50") == Summary(62.0, 2.0, 3)
    assert row.title == BASELINE


def test_what_only_changes_how_a_run_is_carried_out_is_no_other_experiment(tmp_path: Path) -> None:
    make_run(tmp_path)
    make_run(tmp_path, seed=1, config={"device": "cpu", "loader": {"num_workers": 0}})
    assert [len(row.runs) for row in rows_of(tmp_path)] == [2]


@pytest.mark.parametrize(
    "config",
    [
        {"optimizer": {"lr": 0.5}},
        {"dataset": {"seed": 3}},  # a seed, but not this run's
        {"dataloader": {"seed": 1, "mapper": {"seed": 7}}},
    ],
)
def test_other_overrides_are_a_row_of_their_own(tmp_path: Path, config: dict[str, Any]) -> None:
    make_run(tmp_path, config={"dataset": {"seed": 5}} if "dataset" in config else {})
    make_run(tmp_path, seed=1, folder="quick", config=config)
    first, second = rows_of(tmp_path)
    assert (first.title, second.title) == (BASELINE, f"{BASELINE} (quick)")
    assert baseline_of(second, [first, second]) is first


def test_the_same_seed_twice_is_no_second_seed(tmp_path: Path) -> None:
    make_run(tmp_path)
    make_run(tmp_path, folder="again")
    assert [row.label for row in rows_of(tmp_path)] == ["", "again"]


def test_rows_do_not_depend_on_the_order_of_folders(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, seed=seed)
    make_run(tmp_path, LR)
    runs, damaged = read_runs(STUDIES["ofat"], tmp_path)
    expected = rows_of(tmp_path)
    random.Random(0).shuffle(runs)
    assert group_runs(STUDIES["ofat"], runs, [], damaged) == expected


def test_pairs_of_the_same_seed(tmp_path: Path) -> None:
    for seed, value in ((0, 50.0), (1, 40.0), (5, 1.0)):
        make_run(tmp_path, seed=seed, results=ap50(value))
    for seed, value in ((0, 51.0), (1, 43.0), (6, 99.0)):
        make_run(tmp_path, LR, seed=seed, results=ap50(value))
    base, lr = rows_of(tmp_path)
    assert seed_differences(lr, base, "valid", "bbox/AP50") == [1.0, 3.0]


def test_a_study_names_the_score_that_counts(tmp_path: Path) -> None:
    assert declared_metric([]) == "bbox/AP"
    make_run(tmp_path)
    assert declared_metric(rows_of(tmp_path)) == "bbox/AP50"


# Family ------------------------------------------------------------------------------------------


def tree(**parents: str | None) -> list[Row]:
    return [
        Row(name, (Run(Path(name), {"experiment": {"name": name, "parent": parent}}, "finished"),))
        for name, parent in parents.items()
    ]


def test_a_ladder_is_a_tree() -> None:
    rows = tree(a=None, b="a", c="b")
    a, b, c = rows
    assert (baseline_of(a, rows), baseline_of(b, rows), baseline_of(c, rows)) == (None, a, a)
    assert (parent_of(a, rows), parent_of(b, rows), parent_of(c, rows)) == (None, a, b)
    assert ancestry(c, rows) == [c, b, a]


def test_a_missing_link_leads_to_the_only_baseline() -> None:
    rows = [*tree(a=None, c="b"), Row("b")]
    assert baseline_of(rows[1], rows) is rows[0]
    several = [*tree(a=None, other=None, c="b")]
    assert baseline_of(several[2], several) is None
    assert parent_of(rows[1], rows) is rows[2]


def test_a_circle_of_parents_ends() -> None:
    rows = tree(a="b", b="a")
    assert ancestry(rows[0], rows) == rows
    assert baseline_of(rows[0], rows) is None


# Rules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"evaluator": "faster-coco-eval 2.0"}, "evaluator on valid: faster-coco-eval 1.7"),
        ({"protocol": "prophesee"}, "protocol on valid: coco"),
        ({"protocol_version": 2}, "coco version 2"),
        ({"classes": ["person"]}, "classes on valid: head"),
        ({"annotation_sha256": "b" * 64}, "ground truth of valid: aaaaaaaaaaaa"),
        ({"results": {"num_images": 9}}, "number of images on valid: 8"),
    ],
)
def test_other_rules_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    make_run(tmp_path, evaluation={"results": {"num_images": 8}})
    make_run(tmp_path, SGD, evaluation={"results": {"num_images": 8}})
    check_comparable(rows_of(tmp_path))
    make_run(tmp_path, LR, evaluation={"results": {"num_images": 8}} | change)
    with pytest.raises(ValueError) as caught:
        check_comparable(rows_of(tmp_path))
    text = str(caught.value)
    assert words in text and "--only" in text
    assert f"({BASELINE}, {SGD}); " in text and f"({LR})" in text


@pytest.mark.parametrize("key", ["data set", "metric that chose"])
def test_other_data_and_another_choice_are_refused(tmp_path: Path, key: str) -> None:
    make_run(tmp_path)
    other: dict[str, Any] = {"results": {"data_fingerprint": "e" * 64}}
    if key != "data set":
        other = {"config": {"train": {"seed": 0, "best_metric": "bbox/AP"}}}
    make_run(tmp_path, LR, **other)
    with pytest.raises(ValueError, match=key):
        check_comparable(rows_of(tmp_path))


def test_an_unfinished_run_is_not_compared(tmp_path: Path) -> None:
    make_run(tmp_path)
    make_run(tmp_path, LR, end="failed", evaluation={"evaluator": "another"})
    check_comparable(rows_of(tmp_path))


def test_what_is_not_known_is_not_compared(tmp_path: Path) -> None:
    make_run(tmp_path)
    folder = make_run(tmp_path, LR, results={"data_fingerprint": None})
    for split in ("valid", "test"):
        (folder / "evaluation" / split / "evaluation.json").unlink()
        (folder / "evaluation" / split / "matches.npz").unlink()
    check_comparable(rows_of(tmp_path))


def test_a_factor_in_the_data_may_change_what_is_trained_on(tmp_path: Path) -> None:
    make_run(tmp_path)
    other = {"results": {"data_fingerprint": "e" * 64}}
    make_run(tmp_path, LR, experiment={"factors": ["dataset.downsample"]}, **other)
    make_run(tmp_path, SGD, experiment={"parent": LR}, **other)  # builds on it
    check_comparable(rows_of(tmp_path))
    make_run(tmp_path, BATCH, **other)
    with pytest.raises(ValueError, match="data set"):
        check_comparable(rows_of(tmp_path))


def test_the_truth_of_recordings_is_compared_by_its_labels(tmp_path: Path) -> None:
    facts = {**EVALUATION, "annotation_sha256": None}
    make_run(tmp_path, share=0.4, evaluation=facts)
    folder = make_run(tmp_path, LR, share=0.8, evaluation=facts)
    check_comparable(rows_of(tmp_path))
    write_evaluation(folder / "evaluation" / "test", matches_of(0.5, images=39), facts)
    with pytest.raises(ValueError, match="ground truth of test"):
        check_comparable(rows_of(tmp_path))


def test_families_are_not_compared_with_one_another(tmp_path: Path) -> None:
    demo = STUDIES["demo"]
    make_run(tmp_path, "demo_heads", study=demo)
    make_run(tmp_path, "demo_events", study=demo, evaluation={"evaluator": "boxmetrics"})
    check_comparable(rows_of(tmp_path, demo))


def test_scores_that_were_made_anew_are_told(tmp_path: Path) -> None:
    scores = {split: {"bbox/AP": 30.0} for split in ("valid", "test")}
    make_run(tmp_path, results=scores, evaluation={"results": {"AP": 30.0}})
    make_run(tmp_path, LR, results=scores, evaluation={"results": {"AP": 31.5}})
    same, anew = (row.runs[0] for row in rows_of(tmp_path))
    assert evaluated_since(same) == ""
    assert "AP 31.50 in evaluation/, 30.00 in results.json" in evaluated_since(anew)


# Differences -------------------------------------------------------------------------------------


class Counted:
    """Stands for the bootstrap; remembers how it was called."""

    def __init__(self, *answers: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        self.answer = answers[0] if answers else Bounds(1.0, 2.0)

    def __call__(self, *sides: Any, **arguments: Any) -> Any:
        self.calls.append({"sides": [len(side) for side in sides], **arguments})
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def cache(root: Path, bootstrap: Any = None) -> IntervalCache:
    path = root / "intervals.json"
    return IntervalCache(path, bootstrap) if bootstrap else IntervalCache(path)


def test_a_clear_difference_is_marked_and_none_is_not(tmp_path: Path) -> None:
    make_run(tmp_path, share=0.5)
    make_run(tmp_path, LR, share=0.9)
    make_run(tmp_path, SGD, share=0.5)
    base, lr, sgd = rows_of(tmp_path)
    clear = difference(lr, base, "valid", "bbox/AP50", cache(tmp_path))
    assert clear.is_marked and clear.bounds is not None and clear.estimate is not None
    assert clear.bounds.low < clear.estimate < clear.bounds.high
    assert clear.estimate == pytest.approx(40, abs=2)
    none = difference(sgd, base, "valid", "bbox/AP50", cache(tmp_path))
    assert (none.estimate, none.bounds, none.is_marked) == (0.0, Bounds(0.0, 0.0), False)
    back = difference(base, lr, "valid", "bbox/AP50", cache(tmp_path))
    assert back.bounds is not None
    assert back.bounds == pytest.approx((-clear.bounds.high, -clear.bounds.low))


def test_seeds_are_averaged_and_their_pairs_give_the_spread(tmp_path: Path) -> None:
    for seed, (old, new) in enumerate([(50.0, 51.0), (40.0, 43.0)]):
        make_run(tmp_path, seed=seed, results=ap50(old))
        make_run(tmp_path, LR, seed=seed, results=ap50(new))
    bootstrap = Counted()
    base, lr = rows_of(tmp_path)
    found = difference(lr, base, "valid", "bbox/AP50", cache(tmp_path, bootstrap))
    assert found == Difference(2.0, pytest.approx(math.sqrt(2)), Bounds(1.0, 2.0))
    assert bootstrap.calls[0]["sides"] == [2, 2]


def test_an_interval_is_computed_once(tmp_path: Path) -> None:
    make_run(tmp_path)
    folder = make_run(tmp_path, LR)
    bootstrap = Counted()

    def interval() -> Bounds | None:
        base, lr = rows_of(tmp_path)
        return difference(lr, base, "valid", "bbox/AP50", cache(tmp_path, bootstrap)).bounds

    assert interval() == interval() == Bounds(1.0, 2.0)
    assert len(bootstrap.calls) == 1
    folder.rename(folder.with_name("moved"))
    interval()
    assert len(bootstrap.calls) == 1
    write_evaluation(tmp_path / "work_dirs/moved/evaluation/valid", matches_of(0.7), EVALUATION)
    interval()
    assert len(bootstrap.calls) == 2
    (tmp_path / "intervals.json").write_text("{")
    interval()
    assert len(bootstrap.calls) == 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(None, "too few images"), (ValueError("Other images."), "Other images.")],
)
def test_why_there_is_no_interval(tmp_path: Path, answer: Any, reason: str) -> None:
    make_run(tmp_path)
    make_run(tmp_path, LR)
    base, lr = rows_of(tmp_path)
    for _ in range(2):  # the second time from the file
        found = difference(lr, base, "valid", "bbox/AP50", cache(tmp_path, Counted(answer)))
        assert (found.bounds, found.reason, found.is_marked) == (None, reason, False)
    found = difference(lr, base, "valid", "prophesee/AP50", cache(tmp_path))
    assert found == Difference()
    matches = lr.runs[0].folder / "evaluation/valid/matches.npz"
    matches.write_bytes(matches.read_bytes()[:-100])
    found = difference(lr, base, "valid", "bbox/AP50", cache(tmp_path))
    assert (found.estimate, found.bounds) == (0.0, None) and "zip" in found.reason
    matches.unlink()
    found = difference(lr, base, "valid", "bbox/AP50", cache(tmp_path))
    assert (found.estimate, found.reason) == (0.0, "evaluation/valid/matches.npz is missing")


def test_recordings_are_resampled_as_a_whole(tmp_path: Path) -> None:
    recordings = np.array([f"r{n // 4}" for n in range(40)])
    for name in (BASELINE, LR):
        folder = make_run(tmp_path, name) / "evaluation" / "valid"
        write_evaluation(folder, matches_of(0.5), EVALUATION, image_recording=recordings)
    bootstrap = Counted()
    base, lr = rows_of(tmp_path)
    difference(lr, base, "valid", "bbox/AP50", cache(tmp_path, bootstrap))
    difference(lr, base, "test", "bbox/AP50", cache(tmp_path, bootstrap))
    assert bootstrap.calls[0]["groups"].tolist() == recordings.tolist()
    assert bootstrap.calls[1]["groups"] is None


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("bbox/AP", {"metric": "AP", "classes": None}),
        ("bbox/AP75", {"metric": "AP75", "classes": None}),
        ("bbox/AP-car", {"metric": "AP", "classes": [1]}),
        ("bbox/AP-small-classes", {"metric": "AP", "classes": [0, 2]}),
        ("bbox/APs", None),
        ("bbox/AR@100", None),
        ("bbox/AP-tram", None),
        ("prophesee/AP", None),
    ],
)
def test_which_scores_can_be_resampled(key: str, expected: dict[str, Any] | None) -> None:
    facts = {
        "classes": ["pedestrian", "car", "bicycle"],
        "small_classes": ["pedestrian", "bicycle"],
    }
    assert bootstrap_arguments(key, facts) == expected
    assert bootstrap_arguments("bbox/AP-small-classes", {"classes": ["car"]}) is None


def test_parents_that_are_no_baseline_are_compared_with_too(tmp_path: Path) -> None:
    parents = {"etram_a": None, "etram_b": "etram_a", "etram_c": "etram_b"}
    for value, (name, parent) in enumerate(parents.items()):
        declared = {"parent": parent, "factors": ["x"] if parent else []}
        make_run(tmp_path, name, study=ETRAM, experiment=declared, results=ap50(10.0 * value))
    rows = rows_of(tmp_path, ETRAM)
    a, b, c = compare(rows, ["bbox/AP50"], cache(tmp_path, Counted()))
    assert (a.baseline, a.to_baseline, b.parent, c.parent) == (None, {}, None, rows[1])
    assert c.to_baseline["valid", "bbox/AP50"].estimate == 20.0
    assert c.to_parent["test", "bbox/AP50"].estimate == 10.0
    assert json.dumps(list(b.to_parent)) == "[]"
