"""What must not be compared, and by how much experiments differ."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from comparison_toys import (
    BASELINE,
    BATCH,
    EVALUATION,
    LR,
    OFAT,
    SGD,
    frames_of,
    make_run,
    matches_of,
    write_evaluation,
)
from labbook_toys import STUDIES
from pandas import DataFrame

from labbook.config.studies import Study
from labbook.results.differences import differences_frame
from labbook.results.intervals import Interval, IntervalCache, bootstrap_arguments
from labbook.results.rules import check_comparable, evaluated_since


def check(root: Path, study: Study = OFAT) -> None:
    check_comparable(frames_of(root, study)[1])


# Rules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"evaluation": {"evaluator": "other 2.0"}}, "evaluator on valid: faster-coco-eval 1.7"),
        ({"evaluation": {"protocol": "prophesee"}}, "protocol on valid: coco"),
        ({"evaluation": {"protocol_version": 2}}, "coco version 2"),
        ({"evaluation": {"classes": ["person"]}}, "classes on valid: head"),
        ({"evaluation": {"annotation_sha256": "b"}}, "ground truth of valid: aaaaaaaaaaaa"),
        ({"evaluation": {"results": {"num_images": 9}}}, "number of images on valid: 8"),
        ({"results": {"data_fingerprint": "e" * 64}}, "data set"),
        ({"config": {"train": {"seed": 0, "best_metric": "bbox/AP"}}}, "metric that chose"),
        ({"config": {"train": {"seed": 0}}}, r"metric that chose .*bbox/AP \("),  # the default
    ],
)
def test_other_rules_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    usual = {"results": {"num_images": 8}}
    make_run(tmp_path, evaluation=usual)
    make_run(tmp_path, SGD, evaluation=usual)
    make_run(tmp_path, BATCH, end="failed", evaluation={"evaluator": "another"})  # not compared
    check(tmp_path)
    make_run(tmp_path, LR, **change | {"evaluation": usual | change.get("evaluation", {})})
    with pytest.raises(ValueError, match=words) as caught:
        check(tmp_path)
    text = str(caught.value)
    assert "--only" in text and f"({BASELINE}, {SGD})" in text and f"({LR})" in text


def test_what_is_not_known_is_not_compared(tmp_path: Path) -> None:
    make_run(tmp_path)
    folder = make_run(tmp_path, LR, results={"data_fingerprint": None})
    shutil.rmtree(folder / "evaluation")
    check(tmp_path)


def test_a_factor_in_the_data_may_change_what_is_trained_on(tmp_path: Path) -> None:
    make_run(tmp_path)
    other = {"results": {"data_fingerprint": "e" * 64}}
    make_run(tmp_path, LR, experiment={"factors": ["dataset.downsample"]}, **other)
    make_run(tmp_path, SGD, experiment={"parent": LR}, **other)  # builds on it
    check(tmp_path)
    make_run(tmp_path, BATCH, **other)
    with pytest.raises(ValueError, match="data set"):
        check(tmp_path)


def test_the_truth_of_recordings_is_compared_by_its_labels(tmp_path: Path) -> None:
    facts = {**EVALUATION, "annotation_sha256": None}
    make_run(tmp_path, share=0.4, evaluation=facts)
    folder = make_run(tmp_path, LR, share=0.8, evaluation=facts)
    check(tmp_path)
    write_evaluation(folder / "evaluation" / "test", matches_of(0.5, images=39), facts)
    with pytest.raises(ValueError, match="ground truth of test"):
        check(tmp_path)


def test_families_are_not_compared_with_one_another(tmp_path: Path) -> None:
    demo = STUDIES["demo"]
    make_run(tmp_path, "demo_heads", study=demo)
    make_run(tmp_path, "demo_events", study=demo, evaluation={"evaluator": "boxmetrics"})
    check(tmp_path, demo)


def test_scores_that_were_made_anew_are_told(tmp_path: Path) -> None:
    scores = {split: {"bbox/AP": 30.0} for split in ("valid", "test")}
    make_run(tmp_path, results=scores, evaluation={"results": {"AP": 30.0}})
    make_run(tmp_path, LR, results=scores, evaluation={"results": {"AP": 31.5}})
    same, anew = map(evaluated_since, frames_of(tmp_path)[0]["run"])
    assert same == "" and "31.50" in anew and "30.00" in anew


# Differences -------------------------------------------------------------------------------------


def ap50(value: float | None) -> dict[str, Any]:
    return {"valid": {"bbox/AP50": value}, "test": {"bbox/AP50": value}}


def counted(*answers: Any) -> Mock:
    """Stands for the bootstrap; remembers how it was called."""
    return Mock(side_effect=[*(answers or [Interval(1.0, 2.0)])] * 9)


def differences(
    root: Path, bootstrap: Any = None, study: Study = OFAT, key: str = "bbox/AP50"
) -> DataFrame:
    """All differences in one score."""
    path = root / "intervals.json"
    cache = IntervalCache(path, bootstrap) if bootstrap else IntervalCache(path)
    return differences_frame(*frames_of(root, study), [key], cache)


def difference(root: Path, bootstrap: Any = None, name: str = LR, **more: Any) -> Any:
    """That of an experiment to the baseline on valid."""
    found = differences(root, bootstrap, **more)
    return next(found[(found["title"] == name) & (found["split"] == "valid")].itertuples())


def test_a_clear_difference_is_marked_and_none_is_not(tmp_path: Path) -> None:
    for name, share in {BASELINE: 0.5, LR: 0.9, BATCH: 0.1, SGD: 0.5}.items():
        make_run(tmp_path, name, share)
    better, worse, none = (difference(tmp_path, name=name) for name in (LR, BATCH, SGD))
    assert 0 < better.low < better.estimate < better.high and better.is_marked
    assert better.estimate == pytest.approx(40, abs=2)
    assert worse.low < worse.estimate < worse.high < 0 and worse.is_marked
    assert (none.estimate, none.low, none.high, none.is_marked) == (0.0, 0.0, 0.0, False)
    make_run(tmp_path / "back", share=0.9)
    make_run(tmp_path / "back", LR, share=0.5)
    back = difference(tmp_path / "back")
    assert better.estimate == -back.estimate
    assert (better.low, better.high) == pytest.approx((-back.high, -back.low))


def test_seeds_are_averaged_and_their_pairs_give_the_spread(tmp_path: Path) -> None:
    for seed, old, new in ((0, 50.0, 51.0), (1, 40.0, 43.0)):
        make_run(tmp_path, seed=seed, results=ap50(old))
        make_run(tmp_path, LR, seed=seed, results=ap50(new))
    bootstrap = counted()
    found = difference(tmp_path, bootstrap)
    assert (found.estimate, found.low, found.high) == (2.0, 1.0, 2.0)
    assert found.spread == pytest.approx(math.sqrt(2))
    assert [len(side) for side in bootstrap.call_args_list[0].args] == [2, 2]
    make_run(tmp_path, seed=5, results=ap50(1.0))  # without a partner
    assert difference(tmp_path, bootstrap).spread == pytest.approx(math.sqrt(2))


def test_an_interval_is_computed_once(tmp_path: Path) -> None:
    make_run(tmp_path)
    folder = make_run(tmp_path, LR)
    bootstrap = counted()
    assert difference(tmp_path, bootstrap).low == difference(tmp_path, bootstrap).low == 1.0
    assert bootstrap.call_count == 2  # valid and test
    folder.rename(folder.with_name("moved"))
    difference(tmp_path, bootstrap, f"{LR} (moved)")
    assert bootstrap.call_count == 2
    write_evaluation(tmp_path / "work_dirs/moved/evaluation/valid", matches_of(0.7), EVALUATION)
    difference(tmp_path, bootstrap, f"{LR} (moved)")
    assert bootstrap.call_count == 3
    (tmp_path / "intervals.json").write_text("{")
    difference(tmp_path, bootstrap, f"{LR} (moved)")
    assert bootstrap.call_count == 5


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(None, "too few images"), (ValueError("Other images."), "Other images.")],
)
def test_why_there_is_no_interval(tmp_path: Path, answer: Any, reason: str) -> None:
    make_run(tmp_path)
    matches = make_run(tmp_path, LR) / "evaluation/valid/matches.npz"
    for _ in range(2):  # the second time from the file
        found = difference(tmp_path, counted(answer))
        assert math.isnan(found.low) and (found.reason, found.is_marked) == (reason, False)
    assert math.isnan(difference(tmp_path, key="prophesee/AP50").estimate)
    matches.write_bytes(matches.read_bytes()[:-100])
    found = difference(tmp_path)
    assert found.estimate == 0.0 and math.isnan(found.low) and "zip" in found.reason
    matches.unlink()
    found = difference(tmp_path)
    assert found.estimate == 0.0 and "evaluation/valid/matches.npz" in found.reason


def test_recordings_are_resampled_as_a_whole(tmp_path: Path) -> None:
    recordings = np.array([f"r{n // 4}" for n in range(40)])
    for name in (BASELINE, LR):
        folder = make_run(tmp_path, name) / "evaluation" / "valid"
        write_evaluation(folder, matches_of(0.5), EVALUATION, image_recording=recordings)
    bootstrap = counted()
    differences(tmp_path, bootstrap)
    valid, test = bootstrap.call_args_list
    assert valid.kwargs["groups"].tolist() == recordings.tolist()
    assert test.kwargs["groups"] is None


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
