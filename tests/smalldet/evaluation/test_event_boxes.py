"""The evaluator of recordings: what it scores, refuses, says and leaves."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from coco_scenes import write_dataset
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from event_scenes import (
    BOX,
    CAR,
    CLASSES,
    HEIGHT,
    MOTORCYCLE,
    PEDESTRIAN,
    WIDTH,
    ToyMap,
    found,
    frame,
    sample,
    show,
    toy_recordings,
)
from torch import nn

from boxmetrics.matches import Matches
from boxmetrics.protocols import COCO, evaluate
from boxmetrics.tables import BoxTable
from smalldet.evaluation.coco import CocoBoxEvaluator
from smalldet.evaluation.event_boxes import EventBoxEvaluator

CAR_FRAME, CAR_FOUND = frame(3, [BOX], [CAR]), found([BOX], [0.9], [CAR])


@pytest.fixture
def evaluator() -> EventBoxEvaluator:
    return EventBoxEvaluator(toy_recordings())


def test_a_perfect_detector_has_100_percent_by_every_protocol(evaluator):
    show(
        evaluator, (CAR_FRAME, CAR_FOUND), (frame(12, [BOX], [PEDESTRIAN]), found([BOX], [1], [2]))
    )
    results = evaluator.evaluate()
    assert list(results) == ["bbox", "prophesee", "etram_published"]
    for scores in results.values():
        for key in ("AP", "AP50", "AP75", "AR@1", "AR@300", "AP-Car", "AP-small-classes"):
            assert scores[key] == pytest.approx(100), key
        assert scores["AP-Motorcycle"] is None
    assert results["bbox"]["num_dropped"] == 0


def test_the_keys_are_those_of_the_image_evaluator_and_more(evaluator, tmp_path):
    name = write_dataset(tmp_path, {}, CLASSES)
    image_keys = CocoBoxEvaluator(name).evaluate()["bbox"].keys()
    extra = {f"AP{s}-{name}" for s in "sml" for name in CLASSES} | {"AR@300", "AP-small-classes"}
    assert evaluator.evaluate()["bbox"].keys() == image_keys | extra


def test_times_known_to_be_empty_count_by_coco_and_are_free_by_prophesee(evaluator):
    alarm = found([BOX], [0.95], [CAR])
    show(evaluator, (CAR_FRAME, CAR_FOUND), (frame(4), alarm))
    results = evaluator.evaluate()
    coco, prophesee = results["bbox"], results["prophesee"]
    assert (coco["AP"], prophesee["AP"]) == (pytest.approx(50), pytest.approx(100))
    assert coco["num_images"] == 2
    assert prophesee["dropped_images"] == prophesee["dropped_predictions"] == 1


@pytest.mark.parametrize(
    ("downsample", "bin", "by_prophesee"),
    [("nearest", "APm", {"APs": pytest.approx(100)}), ("none", "APs", {"dropped_ground_truth": 1})],
)
def test_lengths_are_those_of_the_sensor_whatever_the_input(downsample, bin, by_prophesee):
    box = [10.0, 10.0, 30.0, 35.0]  # at half resolution 40 x 50 sensor pixels: medium, diagonal 64
    evaluator = EventBoxEvaluator(toy_recordings(downsample))
    show(evaluator, (frame(3, [box], [CAR]), found([box], [0.9], [CAR])))
    results = evaluator.evaluate()
    scored = [key for key in ("APs", "APm", "APl") if results["bbox"][key] is not None]
    assert scored == [bin] and results["bbox"][bin] == pytest.approx(100)
    assert {key: results["prophesee"][key] for key in by_prophesee} == by_prophesee


def test_predictions_may_come_in_pixels_of_the_sensor(evaluator):
    box = [2 * value for value in BOX]
    on_sensor = found([box], [0.9], [CAR], size=(2 * HEIGHT, 2 * WIDTH))
    show(evaluator, (CAR_FRAME, on_sensor))
    assert evaluator.evaluate()["bbox"]["AP"] == pytest.approx(100)


def test_only_the_published_protocol_ranks_by_class_confidence(evaluator):
    boxes = [BOX, [200, 200, 260, 260]]
    show(evaluator, (CAR_FRAME, found(boxes, [0.9, 0.5], [CAR, CAR], confidence=[0.6, 0.99])))
    results = evaluator.evaluate()
    assert results["prophesee"]["AP"] == pytest.approx(100)
    assert results["etram_published"]["AP"] == pytest.approx(50)


class Detector(nn.Module):
    """Finds the true boxes of every labelled step, step by step, as the recurrent detector."""

    def forward(self, samples):
        steps = range(max(len(s["boxes"]) for s in samples))
        wanted = [(b, t) for t in steps for b, s in enumerate(samples) if s["boxes"][t] is not None]
        return [{"instances": self.truth(samples[b], t), "sample": b, "step": t} for b, t in wanted]

    def truth(self, sample, step):
        boxes, classes = sample["boxes"][step].tolist(), sample["classes"][step].tolist()
        return found(boxes, [0.9] * len(boxes), classes)


def two_streams():
    first = sample(0, [[BOX], None, [], [[5.0, 5, 90, 90]]], [[CAR], None, [], [PEDESTRIAN]])
    second = sample(10, [None, [[9.0, 9, 80, 80]], None, [BOX]], [None, [CAR], None, [MOTORCYCLE]])
    return [first, second]


def test_sequence_samples_through_detectron2(evaluator):
    results = inference_on_dataset(Detector(), [two_streams()], evaluator)
    assert results["bbox"]["AP"] == pytest.approx(100)
    assert results["bbox"]["num_images"] == 5 and results["bbox"]["num_ground_truth"] == 4


def test_an_output_missing_or_of_another_frame_is_refused(evaluator):
    samples = two_streams()
    outputs = Detector()(samples)
    for broken in (outputs[1:], [*outputs, outputs[0]], [*outputs[1:], {**outputs[0], "step": 1}]):
        with pytest.raises(ValueError, match="5 labelled frames of 2 inputs"):
            evaluator.process(samples, broken)


NOTHING = found()


@pytest.mark.parametrize(
    ("time", "instances", "message"),
    [
        (CAR_FRAME, found([BOX], [0.9], [7]), "Class 7 was predicted in image 3"),
        (frame(3, [BOX], [-1]), NOTHING, "Class -1 is true in image 3"),
        (CAR_FRAME, found(size=(384, 640)), r"refer to \(384, 640\) pixels"),
        (frame(3, [BOX], []), NOTHING, "1 true boxes but 0 classes"),
        (frame(20), NOTHING, "Image id 20 is not among the 20 steps"),
        ({k: v for k, v in CAR_FRAME.items() if k != "boxes"}, NOTHING, "has no boxes"),
    ],
)
def test_refuses_what_would_be_scored_wrongly(evaluator, time, instances, message):
    with pytest.raises(ValueError, match=message):
        show(evaluator, (time, instances))


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="Unknown protocol 'gen4'"):
        EventBoxEvaluator(toy_recordings(), protocols=["gen4"])


def test_a_frame_shown_twice_counts_once_but_one_id_for_two_times_is_refused(evaluator, caplog):
    show(evaluator, (CAR_FRAME, CAR_FOUND), (CAR_FRAME, CAR_FOUND))
    with caplog.at_level(logging.INFO):
        assert evaluator.evaluate()["bbox"]["num_images"] == 1
    assert "1 images came more than once" in caplog.text
    with pytest.raises(ValueError, match="Image id 3 stands for"):
        show(evaluator, (frame(3, [BOX], [CAR], timestamp_us=5), CAR_FOUND))


def test_the_log_names_what_is_dropped_and_what_is_undefined(evaluator, caplog):
    broken = found([BOX, BOX, BOX], [0.9, float("nan"), 0.8], [CAR] * 3, [0.9, 0.9, float("inf")])
    show(evaluator, (CAR_FRAME, broken), (frame(4), found()))
    with caplog.at_level(logging.INFO):
        results = evaluator.evaluate()
    assert results["bbox"]["num_dropped"] == 2
    assert "Dropped 2 predictions with a non-finite" in caplog.text
    assert "Dropped by prophesee: images: 1 empty_image; ground truth: none" in caplog.text
    (missing,) = (line for line in caplog.messages if "by coco has no ground truth" in line)
    assert "small boxes" in missing and max(map(len, caplog.messages)) < 300
    caplog.clear()
    with caplog.at_level(logging.INFO):
        evaluator.evaluate()
    assert missing not in caplog.messages  # it is said once


def test_boxes_that_the_recordings_lack_are_named(tmp_path, caplog):
    evaluator = EventBoxEvaluator(toy_recordings(boxes_too_small=6), str(tmp_path))
    show(evaluator, (CAR_FRAME, CAR_FOUND))
    with caplog.at_level(logging.INFO):
        evaluator.evaluate()
    assert "whatever the protocol: 12 boxes_too_small" in caplog.text
    record = json.loads((tmp_path / "evaluation.json").read_text())
    assert record["left_out"] == {"boxes_too_small": 12}


DAY_AND_NIGHT = {"day": "day*", "night": "*night_*"}


def test_slices_are_scored_as_if_they_were_all(tmp_path):
    shown = [
        (frame(12, [BOX], [PEDESTRIAN]), found([BOX], [0.5], [CAR])),
        (CAR_FRAME, CAR_FOUND),
        (frame(4), found([BOX], [0.95], [CAR])),
    ]
    evaluator = EventBoxEvaluator(toy_recordings(), str(tmp_path), slices=DAY_AND_NIGHT)
    show(evaluator, *shown)
    results = evaluator.evaluate()
    record = json.loads((tmp_path / "evaluation.json").read_text())
    for name, part in (("day", shown[1:]), ("night", shown[:1])):
        alone = EventBoxEvaluator(toy_recordings())
        show(alone, *part)
        expected = alone.evaluate()["bbox"]
        del expected["num_dropped"]
        assert results[f"bbox-{name}"] == expected == record["slices"][name]["results"]
        assert record["slices"][name]["recordings"] == [f"{name}_1"]
    plain = EventBoxEvaluator(toy_recordings())
    show(plain, *shown)
    whole = plain.evaluate()
    assert whole.items() <= results.items()
    evaluator.reset()  # an evaluation of nothing names the same scores
    assert evaluator.evaluate().keys() == results.keys()


def test_no_predictions_and_no_truth(evaluator, caplog):
    show(evaluator, (CAR_FRAME, found()))
    assert evaluator.evaluate()["bbox"]["AP"] == 0.0
    assert "No predictions on 1 images" in caplog.text
    evaluator.reset()
    show(evaluator, (frame(3), CAR_FOUND))
    results = evaluator.evaluate()
    assert results["bbox"]["AP"] is None and results["prophesee"]["num_images"] == 0
    assert "hold no ground-truth box" in caplog.text


def test_several_processes_score_the_union(monkeypatch, tmp_path):
    pairs = [(frame(n, [BOX], [CAR]), found([BOX], [0.9 - n / 20], [CAR])) for n in range(4)]
    alone = EventBoxEvaluator(toy_recordings(), str(tmp_path / "alone"))
    show(alone, *pairs)
    expected = alone.evaluate()
    first, second = (EventBoxEvaluator(toy_recordings(), str(tmp_path / "both")) for _ in "ab")
    show(first, *pairs[2:])
    show(second, pairs[2], *pairs[:2])  # the last batch of a sampler repeats
    parts = [first.collected, second.collected]
    monkeypatch.setattr(comm, "gather", lambda data, dst=0: parts)
    assert first.evaluate() == expected
    for name in ("predictions.json", "matches.npz", "evaluation.json"):
        assert (tmp_path / "both" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert second.evaluate() == {}


def test_the_files_hold_all_that_is_needed_to_judge(tmp_path):
    evaluator = EventBoxEvaluator(toy_recordings(), str(tmp_path))
    night = frame(12, [BOX], [PEDESTRIAN], timestamp_us=400_000)
    show(
        evaluator,
        (night, found([BOX], [0.5], [CAR], [0.8])),
        (CAR_FRAME, CAR_FOUND),
        (frame(4), found()),
    )
    results = evaluator.evaluate()
    first, second = json.loads((tmp_path / "predictions.json").read_text())
    assert second == {
        "image_id": 12,
        "category_id": CAR,
        "bbox": [100, 100, 100, 100],
        "score": 0.5,
        "class_confidence": pytest.approx(0.8),
    }
    assert first["class_confidence"] == first["score"]
    assert len(Matches.load(tmp_path / "matches.npz").det_score) == 2
    with np.load(tmp_path / "matches.npz") as arrays:
        assert arrays["image_recording"].tolist() == ["day_1", "day_1", "night_1"]
        assert arrays["image_timestamp_us"].tolist() == [1_000_000, 1_000_000, 400_000]
    record = json.loads((tmp_path / "evaluation.json").read_text())
    names = [protocol["name"] for protocol in record["protocols"]]
    assert names == ["coco", "prophesee", "etram_published"]
    assert record["protocols"][1]["version"] == 1
    assert record["protocols"][1]["dropped"]["ground_truth"] == {"early": 1}
    assert (record["class_map"], record["class_confidence"]) == ("toy3", "own")
    assert (record["num_recordings"], record["num_empty_images"]) == (2, 1)
    assert record["results"]["AP"] == results["bbox"]["AP"]
    table = BoxTable.load(tmp_path / "matches.npz")
    again = evaluate(COCO, table, CLASSES, ToyMap().small)
    assert again.scores == record["protocols"][0]["results"]
