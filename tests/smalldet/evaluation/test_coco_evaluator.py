"""The evaluator: what it scores, what it refuses, what it says and what it leaves."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from coco_scenes import SIZE, show, to_instances, write_dataset
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.structures import BoxMode
from detectron2.utils import comm

from boxmetrics.matches import Matches
from smalldet.evaluation.coco import CocoBoxEvaluator

NOTHING = to_instances([], [], [])
BOX = {"bbox": [10, 10, 20, 20], "category_id": 2}
FOUND = to_instances([[10, 10, 30, 30]], [0.9], [0])
COUNTS = {"num_images", "num_ground_truth", "num_predictions", "num_dropped"}


@pytest.fixture
def two_images(tmp_path):
    """Images 1 and 2 with one small head each."""
    return write_dataset(tmp_path, {1: [BOX], 2: [BOX]})


def test_a_perfect_detector_has_100_percent(two_images):
    evaluator = CocoBoxEvaluator(two_images)
    show(evaluator, 1, FOUND)
    show(evaluator, 2, FOUND)
    scores = evaluator.evaluate()["bbox"]
    for key in ("AP", "AP50", "AP75", "APs", "AR@1", "AR@100", "ARs", "AP-head"):
        assert scores[key] == pytest.approx(100), key
    assert {key: scores[key] for key in COUNTS} == {
        "num_images": 2,
        "num_ground_truth": 2,
        "num_predictions": 2,
        "num_dropped": 0,
    }


def test_no_predictions_give_zero_under_all_keys_and_one_warning(two_images, caplog):
    evaluator = CocoBoxEvaluator(two_images)
    show(evaluator, 1, FOUND)
    full = evaluator.evaluate()["bbox"]
    evaluator.reset()
    show(evaluator, 1, NOTHING)
    with caplog.at_level(logging.WARNING):
        empty = evaluator.evaluate()["bbox"]
    assert list(empty) == list(full)
    assert all(empty[key] == 0.0 for key in ("AP", "AP50", "AR@100", "APs", "AP-head"))
    assert [record.name for record in caplog.records if record.name.startswith("smalldet")] == [
        "smalldet.evaluation.evaluator"
    ]
    for cause in ("score threshold", "weights were not loaded", "classes"):
        assert cause in caplog.text


def test_without_ground_truth_scores_are_null(tmp_path, caplog):
    evaluator = CocoBoxEvaluator(write_dataset(tmp_path, {1: []}))
    show(evaluator, 1, FOUND)
    scores = evaluator.evaluate()["bbox"]
    assert {scores[key] for key in scores.keys() - COUNTS} == {None}
    assert "no ground-truth box" in caplog.text


def test_an_absent_class_and_an_empty_size_are_left_out_and_named(tmp_path, caplog):
    dataset = write_dataset(tmp_path, {1: [BOX]}, ("head", "hat"))
    evaluator = CocoBoxEvaluator(dataset)
    show(evaluator, 1, FOUND)
    with caplog.at_level(logging.INFO):
        scores = evaluator.evaluate()["bbox"]
    assert scores["AP-hat"] is None and scores["APl"] is None and scores["ARm"] is None
    assert scores["AP"] == pytest.approx(100)
    assert "class 'hat', medium boxes, large boxes" in caplog.text


def test_no_image_at_all_gives_null(two_images):
    scores = CocoBoxEvaluator(two_images).evaluate()["bbox"]
    assert scores["AP"] is None and scores["num_images"] == 0


def test_only_the_images_shown_count(two_images, caplog):
    evaluator = CocoBoxEvaluator(two_images)
    show(evaluator, 2, FOUND)
    with caplog.at_level(logging.INFO):
        scores = evaluator.evaluate()["bbox"]
    assert scores["AP"] == pytest.approx(100)
    assert "1 of 2 images" in caplog.text


def test_an_image_shown_twice_counts_once(two_images, caplog):
    evaluator = CocoBoxEvaluator(two_images)
    show(evaluator, 1, FOUND)
    show(evaluator, 1, FOUND)
    with caplog.at_level(logging.INFO):
        scores = evaluator.evaluate()["bbox"]
    assert (scores["num_images"], scores["num_predictions"]) == (1, 1)
    assert "1 images came more than once" in caplog.text


def test_broken_predictions_are_dropped_and_counted(two_images, tmp_path, caplog):
    boxes = [[10, 10, 30, 30], [float("nan"), 0, 1, 1], [0, 0, float("inf"), 1], [9, 9, 5, 20]]
    boxes += [[0, 0, 1, 1]]
    evaluator = CocoBoxEvaluator(two_images, str(tmp_path / "out"))
    show(evaluator, 1, to_instances(boxes, [0.9, 0.8, 0.7, 0.6, float("nan")], [0] * 5))
    scores = evaluator.evaluate()["bbox"]
    assert (scores["num_predictions"], scores["num_dropped"]) == (1, 4)
    assert scores["AP"] == pytest.approx(100)
    assert "Dropped 4 predictions" in caplog.text
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 1


def test_classes_follow_the_sorted_category_ids(tmp_path):
    boxes = [BOX, {"bbox": [100, 100, 20, 20], "category_id": 5}]
    evaluator = CocoBoxEvaluator(write_dataset(tmp_path, {1: boxes}, ("head", "hat")), "valid")
    show(evaluator, 1, to_instances([[100, 100, 120, 120]], [0.9], [1]))
    scores = evaluator.evaluate()["bbox"]
    assert scores["AP-head"] == 0 and scores["AP-hat"] == pytest.approx(100)


def test_refuses_what_would_be_scored_wrongly(two_images):
    evaluator = CocoBoxEvaluator(two_images)
    with pytest.raises(ValueError, match="Image id 3 is not among the 2 images"):
        show(evaluator, 3, NOTHING)
    with pytest.raises(ValueError, match=r"Class 4 .* has 1 classes"):
        show(evaluator, 1, to_instances([[0, 0, 1, 1]], [0.5], [4]))
    with pytest.raises(ValueError, match="pixels of the original image"):
        show(evaluator, 1, to_instances([[0, 0, 1, 1]], [0.5], [0], size=(SIZE // 2, SIZE)))


def test_an_unknown_name_is_a_sentence_with_the_nearest(two_images):
    with pytest.raises(ValueError, match=r"registered as '.*tru.json', but .*truth.json"):
        CocoBoxEvaluator(two_images.replace("truth", "tru"))


def test_objects_without_an_area_are_named_and_have_that_of_their_box(tmp_path, caplog):
    name = str(tmp_path / "plain")
    records = [{"image_id": 1, "annotations": [{**BOX, "bbox_mode": BoxMode.XYWH_ABS}]}]
    records[0]["annotations"][0]["category_id"] = 0
    DatasetCatalog.register(name, lambda: records)
    ids = {7: 0}
    MetadataCatalog.get(name).set(thing_classes=["head"], thing_dataset_id_to_contiguous_id=ids)
    truth = CocoBoxEvaluator(name).truth
    assert (truth.annotations[1][0]["area"], truth.annotations[1][0]["category_id"]) == (400, 7)
    assert "1 objects have no area" in caplog.text


def run(dataset, folder, order=(1, 2)) -> None:
    evaluator = CocoBoxEvaluator(dataset, str(folder))
    more = to_instances([[0, 0, 5, 5], [10, 10, 30, 30]], [0.2, 0.4], [0, 0])
    for image_id in order:
        show(evaluator, image_id, {1: FOUND, 2: more}[image_id])
    evaluator.evaluate()


def test_leaves_three_files_that_do_not_depend_on_the_order(two_images, tmp_path):
    run(two_images, tmp_path / "a")
    run(two_images, tmp_path / "b", order=(2, 1))
    names = ["evaluation.json", "matches.npz", "predictions.json"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    predictions = json.loads((tmp_path / "a" / "predictions.json").read_text())
    assert [(p["image_id"], round(p["score"], 3)) for p in predictions] == [
        (1, 0.9),
        (2, 0.4),
        (2, 0.2),
    ]
    assert predictions[0] == {
        "image_id": 1,
        "category_id": 2,
        "bbox": [10, 10, 20, 20],
        "score": pytest.approx(0.9),
    }
    matches = Matches.load(tmp_path / "a" / "matches.npz")
    assert matches.det_gt[:, 0].tolist() == [0, 1, -1]
    description = json.loads((tmp_path / "a" / "evaluation.json").read_text())
    assert description["protocol"] == "coco" and description["images_in_file"] == 2
    assert len(description["annotation_sha256"]) == 64
    assert description["results"]["APl"] is None


def test_processes_are_gathered_and_only_the_first_scores(two_images, monkeypatch):
    first, second = (CocoBoxEvaluator(two_images) for _ in range(2))
    show(first, 1, FOUND)
    show(second, 1, NOTHING)  # padding of a distributed sampler
    show(second, 2, FOUND)
    monkeypatch.setattr(comm, "gather", lambda data, dst: [data, second.collected])
    scores = first.evaluate()["bbox"]
    assert (scores["num_images"], scores["num_predictions"]) == (2, 2)
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert second.evaluate() == {}


class FoundEverywhere(torch.nn.Module):
    def forward(self, images):
        return [{"instances": FOUND} for _ in images]


def test_runs_in_detectron2s_loop(two_images):
    loader = [[{"image_id": n, "height": SIZE, "width": SIZE}] for n in (1, 2)]
    evaluator = CocoBoxEvaluator(two_images)
    for _ in range(2):  # the loop resets
        scores = inference_on_dataset(FoundEverywhere(), loader, evaluator)["bbox"]
        assert scores["AP"] == pytest.approx(100) and scores["num_images"] == 2
