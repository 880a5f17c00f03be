"""The error analysis of runs, its file, and the objects gained and lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_toys import CLASSES, OFAT, make_study, truth, with_predictions

from boxmetrics.error_types import error_costs
from boxmetrics.matches import ImageBoxes, Matches, match_images
from labbook.report import errors
from labbook.report.errors import area_ranges, error_analyses, load_matches
from labbook.report.gallery import changed, found, pair_of, stored_crops
from labbook.results.runs import find_runs
from runfolder.run import Run

BASE, SGD = "baseline_lr0.001_bs8_adamw_ep100", "ofat_lr0.001_bs8_sgd_ep100"
IMAGES = 16


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    chosen = {name: OFAT[name] for name in (BASE, SGD)}
    last = "ofat_lr0.001_bs8_adamw_ep200"
    chosen[last] = {**OFAT[last], "end": "failed"}
    study = make_study(tmp_path, "ofat", chosen, images=IMAGES)
    return find_runs(study, tmp_path)


def test_it_tells_what_the_metrics_tell(runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "errors.json"
    analyses = error_analyses(runs, "test", path)
    assert list(analyses) == [f"ofat_{BASE}", SGD]  # not the failed one
    stored = json.loads(path.read_text())["runs"]
    assert stored == json.loads(json.dumps(analyses))
    matches = load_matches(tmp_path / "work_dirs" / SGD / "evaluation" / "test" / "matches.npz")
    told = analyses[SGD]
    assert list(told["sizes"]) == ["all", "small", "medium", "large"]
    for size, limits in (("all", None), ("small", (0.0, 1024.0))):
        report = error_costs(matches, area_range=limits)
        assert told["sizes"][size]["ap"] == report.ap
        assert {error.name: error.cost for error in report.errors} == {
            name: error["cost"] for name, error in told["sizes"][size]["errors"].items()
        }
    assert told["sizes"]["all"]["ap"] == pytest.approx(runs[1].score("test", "bbox/AP50"))
    objects = len(matches.gt_class)
    assert sum(bin["count"] for bin in told["recall_by_size"]) == objects
    assert np.sum(told["confusion"][:-1]) == objects
    assert told["false_alarms"]["empty_images"] == IMAGES // 8


def test_equal_matches_are_analysed_once(runs, tmp_path, monkeypatch) -> None:
    path = tmp_path / "errors.json"
    first = error_analyses(runs, "test", path)
    monkeypatch.setattr(errors, "analyse_run", None)  # calling it would fail
    assert error_analyses(runs, "test", path) == json.loads(json.dumps(first))
    with pytest.raises(TypeError):
        error_analyses(runs, "valid", path)
    path.write_text("no JSON")
    with pytest.raises(TypeError):
        error_analyses(runs, "test", path)


def test_a_file_that_holds_no_matches_is_said(runs, tmp_path, caplog) -> None:
    (runs[1].folder / "evaluation" / "test" / "matches.npz").write_bytes(b"PK nonsense")
    assert list(error_analyses(runs, "test", tmp_path / "errors.json")) == [f"ofat_{BASE}"]
    assert SGD in caplog.text and "matches.npz" in caplog.text


def test_a_run_that_finds_nothing_has_an_analysis(runs, tmp_path) -> None:
    empty = match_images(truth("ofat", 8, IMAGES))
    empty.save(runs[1].folder / "evaluation" / "test" / "matches.npz")
    told = error_analyses(runs, "test", tmp_path / "errors.json")[SGD]
    assert told["sizes"]["all"]["ap"] == 0 and told["false_alarms"]["alarms"] == 0
    assert {bin["found"] for bin in told["recall_by_size"]} == {0}


@pytest.mark.parametrize(
    "evaluation",
    [
        {"area_ranges": {"all": [0, 9], "small": [0, 4]}},
        {"protocols": [{"area_ranges": {"small": [0, 4], "all": [0, 9]}}, {}]},
    ],
)
def test_sizes_are_those_of_the_protocol(evaluation: dict) -> None:
    assert area_ranges(evaluation) == {"all": None, "small": (0.0, 4.0)}
    assert list(area_ranges({})) == ["all", "small", "medium", "large"]


def matches_of(skill: float, seed: int) -> Matches:
    scene = truth("etram", 3, IMAGES)
    return match_images(with_predictions(scene, skill, seed, len(CLASSES["etram"])))


def test_gained_and_lost_are_what_only_one_finds() -> None:
    ours, theirs = matches_of(0.8, 1), matches_of(0.5, 2)
    change, back = changed(ours, theirs), changed(theirs, ours)
    assert len(change.gained) > len(change.lost) > 0
    assert np.array_equal(change.gained, back.lost) and np.array_equal(change.lost, back.gained)
    net = np.count_nonzero(found(ours)) - np.count_nonzero(found(theirs))
    assert len(change.gained) - len(change.lost) == net
    assert all(len(rows) == 0 for rows in changed(ours, ours))


def test_a_doubtful_match_finds_nothing_and_crowds_do_not_count() -> None:
    box = [[10, 10, 30, 30]]
    area, crowd = [400], [False]
    images = [ImageBoxes(n, box, [s], [0], box, [0], area, crowd) for n, s in ((1, 0.29), (2, 0.3))]
    assert found(match_images(images)).tolist() == [False, True]
    crowded = match_images([replace(image, gt_crowd=[True]) for image in images])
    assert not found(crowded).any()


def test_other_ground_truth_is_refused() -> None:
    one = matches_of(0.8, 1)
    with pytest.raises(ValueError, match="ground truth"):
        changed(one, replace(one, gt_class=one.gt_class + 1))


def test_runs_of_the_same_seed_are_paired(runs: list[Run]) -> None:
    base, other, failed = runs
    later = replace(base, config={**base.config, "train": {"seed": 9}})
    assert pair_of([other], [later, base], "test") == (other, base)
    assert pair_of([other], [later], "test") == (other, later)
    assert pair_of([failed], [base], "test") is None


def test_a_list_of_crops_reads_its_own_folder_only(runs: list[Run], caplog) -> None:
    home = runs[0].folder / "evaluation" / "test"
    item = {"gt": 0, "image_id": 1, "file": "../../../secret.png"}
    (home / "gallery.json").write_text(json.dumps({"objects": [item, {"gt": 1}]}))
    assert stored_crops((runs[1], runs[0]), "test")[0] == (home / "gallery" / "secret.png", 1)
    assert str(home / "gallery.json") in caplog.text
