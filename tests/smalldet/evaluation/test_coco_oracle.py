"""Scores and matches equal those of pycocotools on inputs made to hurt."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from coco_scenes import (
    pycocotools_scores,
    random_predictions,
    random_truth,
    show,
    write_dataset,
)

from boxmetrics.matches import Matches
from smalldet.evaluation.coco import CocoBoxEvaluator

NAMES = ("head", "hat", "never seen")


def evaluate_random(seed: int, folder: Path) -> tuple[str, dict, list[int]]:
    """Score a random scene; the images shown are a part of the file's, in any order."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(1, 4))
    used = min(classes, 2)  # a third class is listed and never occurs
    images = {int(i): random_truth(rng, used) for i in rng.permutation(40)[: rng.choice([1, 1, 8])]}
    dataset = write_dataset(folder, images, NAMES[:classes])
    evaluator = CocoBoxEvaluator(dataset, str(folder))
    shown = [i for i in images if rng.random() < 0.9] or list(images)
    for image_id in shown:
        show(evaluator, image_id, random_predictions(rng, images[image_id], used))
    return dataset, evaluator.evaluate()["bbox"], shown


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The folder of a scene, by its seed, and what :func:`evaluate_random` gives; scored once."""

    @cache
    def scored(seed: int) -> tuple[Path, str, dict, list[int]]:
        folder = tmp_path_factory.mktemp(f"scene{seed}")
        return folder, *evaluate_random(seed, folder)

    return scored


@pytest.mark.parametrize("seed", range(40))
def test_equals_pycocotools(seed, scene):
    folder, dataset, scores, shown = scene(seed)
    results = json.loads((folder / "predictions.json").read_text())
    expected, evaluation = pycocotools_scores(Path(dataset), results, sorted(shown))
    for key, value in expected.items():
        assert scores[key] == (None if value is None else pytest.approx(value, abs=1e-9)), key
    assert_same_matches(Matches.load(folder / "matches.npz"), evaluation)


def assert_same_matches(matches: Matches, evaluation) -> None:
    """Overlaps with the matched box, image by image and class by class, over all sizes."""
    categories = list(evaluation.params.catIds)
    whole_range = [e for e in evaluation.evalImgs if e and e["aRng"] == [0, 1e10]]
    compared = 0
    for entry in whole_range:
        image = matches.image_ids.tolist().index(entry["image_id"])
        k = categories.index(entry["category_id"])
        rows = np.flatnonzero((matches.det_image == image) & (matches.det_class == k))[:100]
        assert matches.det_score[rows].tolist() == entry["dtScores"]
        theirs = np.asarray(entry["dtMatches"]).reshape(10, -1).T > 0
        np.testing.assert_array_equal(matches.det_gt[rows] >= 0, theirs)
        compared += len(rows)
    kept = sum(
        min(100, ((matches.det_image == i) & (matches.det_class == k)).sum())
        for i in range(len(matches.image_ids))
        for k in range(len(categories))
    )
    assert compared == kept


def test_the_scenes_hold_what_hurts(scene):
    """The seeds above cover no predictions, null scores, crowds, ties and more than 100."""
    seen = set()
    for seed in range(40):
        folder, _, scores, _ = scene(seed)
        matches = Matches.load(folder / "matches.npz")
        _, per_group = np.unique(
            matches.det_image * 10 + matches.det_class, axis=0, return_counts=True
        )
        facts = {
            "no predictions": not scores["num_predictions"],
            "no truth": scores["AP"] is None,
            "absent class": scores.get("AP-never seen", 0) is None,
            "empty size": scores["AP"] is not None and scores["APl"] is None,
            "crowd": matches.gt_crowd.any(),
            "crowd match": matches.gt_crowd[matches.det_gt[matches.det_gt >= 0]].any(),
            "ties": len(np.unique(matches.det_score)) < len(matches.det_score),
            "over 100": per_group.max(initial=0) > 100,
            "tiny": (matches.gt_area < 4).any(),
            "a score between": bool(scores["AP"] and 1 < scores["AP"] < 99),
        }
        seen |= {name for name, value in facts.items() if value}
    assert seen == set(facts)
