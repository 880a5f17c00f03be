"""The evaluator: what it scores, what it refuses, what it says and what it leaves."""

from __future__ import annotations

import json
import logging

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from coco_scenes import SIZE, register_file, show, to_instances, write_dataset
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.structures import BoxMode
from detectron2.utils import comm

from boxmetrics.matches import Matches
from smalldet.evaluation.coco import CocoBoxEvaluator

NOTHING = to_instances([], [], [])
BOX = {"bbox": [10, 10, 20, 20], "category_id": 2}
FOUND = to_instances([[10, 10, 30, 30]], [0.9], [0])
COUNTS = {"num_images": 2, "num_ground_truth": 2, "num_predictions": 2, "num_dropped": 0}
FILES = ["evaluation.json", "matches.npz", "predictions.json"]


@pytest.fixture
def two_images(tmp_path):
    """Images 1 and 2 with one small head each."""
    return write_dataset(tmp_path, {1: [BOX], 2: [BOX]})


@pytest.fixture(autouse=True)
def every_log_line(caplog):
    caplog.set_level(logging.INFO)


def score(dataset, *shown, folder="") -> dict[str, float | None]:
    """Scores after images, as (id, predictions), were shown."""
    evaluator = CocoBoxEvaluator(dataset, str(folder))
    for image_id, instances in shown:
        show(evaluator, image_id, instances)
    return evaluator.evaluate()["bbox"]


def test_a_perfect_detector_has_100_percent(two_images):
    scores = score(two_images, (1, FOUND), (2, FOUND))
    for key in ("AP", "AP50", "AP75", "APs", "AR@1", "AR@100", "ARs", "AP-head"):
        assert scores[key] == pytest.approx(100), key
    assert {key: scores[key] for key in COUNTS} == COUNTS


def test_no_predictions_give_zero_under_all_keys_and_one_warning(two_images, caplog):
    full = score(two_images, (1, FOUND))
    caplog.clear()
    empty = score(two_images, (1, NOTHING))
    assert list(empty) == list(full)
    assert all(empty[key] == 0.0 for key in ("AP", "AP50", "AR@100", "APs", "AP-head"))
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    (warning,) = [text for text in warnings if "Category ids" not in text]  # Detectron2's
    for cause in ("score threshold", "weights were not loaded", "classes"):
        assert cause in warning


def test_without_ground_truth_scores_are_null(tmp_path, caplog):
    scores = score(write_dataset(tmp_path, {1: []}), (1, FOUND))
    assert {scores[key] for key in scores.keys() - COUNTS} == {None}
    assert "no ground-truth box" in caplog.text


def test_an_absent_class_and_an_empty_size_are_left_out_and_named(tmp_path, caplog):
    scores = score(write_dataset(tmp_path, {1: [BOX]}, ("head", "hat")), (1, FOUND))
    assert scores["AP-hat"] is None and scores["APl"] is None and scores["ARm"] is None
    assert scores["AP"] == pytest.approx(100)
    assert "class 'hat', medium boxes, large boxes" in caplog.text


def test_only_the_images_shown_count_and_each_once(two_images, caplog):
    scores = score(two_images)
    assert scores["AP"] is None and scores["num_images"] == 0
    scores = score(two_images, (2, FOUND), (2, FOUND))
    assert (scores["num_images"], scores["num_predictions"]) == (1, 1)
    assert scores["AP"] == pytest.approx(100)
    assert "1 of 2 images" in caplog.text and "1 images came more than once" in caplog.text


def test_broken_predictions_are_dropped_and_counted(two_images, tmp_path, caplog):
    boxes = [[10, 10, 30, 30], [float("nan"), 0, 1, 1], [0, 0, float("inf"), 1], [9, 9, 5, 20]]
    found = to_instances([*boxes, [0, 0, 1, 1]], [0.9, 0.8, 0.7, 0.6, float("nan")], [0] * 5)
    scores = score(two_images, (1, found), folder=tmp_path / "out")
    assert (scores["num_predictions"], scores["num_dropped"]) == (1, 4)
    assert scores["AP"] == pytest.approx(100)
    assert "Dropped 4 predictions" in caplog.text
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 1


def test_classes_follow_the_sorted_category_ids(tmp_path):
    boxes = [BOX, {"bbox": [100, 100, 20, 20], "category_id": 5}]
    dataset = write_dataset(tmp_path, {1: boxes}, ("head", "hat"))
    scores = score(dataset, (1, to_instances([[100, 100, 120, 120]], [0.9], [1])))
    assert scores["AP-head"] == 0 and scores["AP-hat"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("image_id", "label", "size", "message"),
    [
        (3, 0, (SIZE, SIZE), "Image id 3 is not among the 2 images"),
        (1, 4, (SIZE, SIZE), "Class 4 .* has 1 classes"),
        (1, -1, (SIZE, SIZE), "Class -1 .* has 1 classes"),
        (1, 0, (SIZE // 2, SIZE), "pixels of the original image"),
    ],
)
def test_refuses_what_would_be_scored_wrongly(two_images, image_id, label, size, message):
    with pytest.raises(ValueError, match=message):
        score(two_images, (image_id, to_instances([[0, 0, 1, 1]], [0.5], [label], size=size)))


def test_an_unknown_name_is_a_sentence_with_the_nearest(two_images):
    with pytest.raises(ValueError, match=r"registered as '.*tru.json', but .*truth.json"):
        CocoBoxEvaluator(two_images.replace("truth", "tru"))


def test_objects_without_an_area_are_named_and_have_that_of_their_box(tmp_path, caplog):
    name = str(tmp_path / "plain")
    entry = {"bbox": [10, 10, 20, 20], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
    DatasetCatalog.register(name, lambda: [{"image_id": 1, "annotations": [entry]}])
    ids = {7: 0}
    MetadataCatalog.get(name).set(thing_classes=["head"], thing_dataset_id_to_contiguous_id=ids)
    (annotation,) = CocoBoxEvaluator(name).truth.annotations[1]
    assert (annotation["area"], annotation["category_id"]) == (400, 7)
    assert "1 objects have no area" in caplog.text


def test_leaves_three_files_that_do_not_depend_on_the_order(two_images, tmp_path):
    more = to_instances([[0, 0, 5, 5], [10, 10, 30, 30]], [0.2, 0.4], [0, 0])
    score(two_images, (1, FOUND), (2, more), folder=tmp_path / "a")
    score(two_images, (2, more), (1, FOUND), folder=tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    predictions = json.loads((tmp_path / "a" / "predictions.json").read_text())
    found = [(p["image_id"], p["category_id"], p["bbox"]) for p in predictions]
    square = [10, 10, 20, 20]
    assert found == [(1, 2, square), (2, 2, square), (2, 2, [0, 0, 5, 5])]
    assert [p["score"] for p in predictions] == pytest.approx([0.9, 0.4, 0.2])
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


def evaluate_part(rank, dataset, folder):
    """Process 0 shows images 1 and 2, process 1 shows 3 and, as padding, 1 again."""
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    register_file(dataset)
    evaluator = CocoBoxEvaluator(dataset, str(folder / "out"))
    for image_id in ((1, 2), (3, 1))[rank]:
        show(evaluator, image_id, to_instances([[10, 10, 30, 30 - image_id]], [0.9], [0]))
    (folder / f"rank{rank}.json").write_text(json.dumps(evaluator.evaluate()))
    dist.barrier()  # gloo may abort a process that leaves while the other one still listens to it
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_real_processes_equal_one(tmp_path):
    dataset = write_dataset(tmp_path, {1: [BOX], 2: [BOX], 3: [BOX]})
    mp.spawn(evaluate_part, (dataset, tmp_path), nprocs=2)
    shown = [(n, to_instances([[10, 10, 30, 30 - n]], [0.9], [0])) for n in (1, 2, 3)]
    alone = score(dataset, *shown, folder=tmp_path / "alone")
    assert json.loads((tmp_path / "rank0.json").read_text()) == {"bbox": alone}
    assert json.loads((tmp_path / "rank1.json").read_text()) == {}
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


class FoundEverywhere(torch.nn.Module):
    def forward(self, images):
        return [{"instances": FOUND} for _ in images]


def test_runs_in_detectron2s_loop(two_images):
    loader = [[{"image_id": n, "height": SIZE, "width": SIZE}] for n in (1, 2)]
    evaluator = CocoBoxEvaluator(two_images)
    for _ in range(2):  # the loop resets
        scores = inference_on_dataset(FoundEverywhere(), loader, evaluator)["bbox"]
        assert scores["AP"] == pytest.approx(100) and scores["num_images"] == 2
