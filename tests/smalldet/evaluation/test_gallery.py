"""Crops of true objects: which ones, what they show, and that a missing picture is no end."""

from __future__ import annotations

import json
import logging

import cv2
import numpy as np
import pytest
from coco_scenes import show as show_image
from coco_scenes import to_instances, write_dataset
from event_scenes import BOX, CAR, HEIGHT, WIDTH, ToyRecording, found, frame, show, toy_recordings

from boxmetrics.matches import ImageBoxes, Matches, match_images
from pictures.boxes import CLASS_COLOURS, DARK
from smalldet.data import records_of
from smalldet.data.errors import DataError
from smalldet.evaluation.coco import CocoBoxEvaluator
from smalldet.evaluation.event_boxes import EventBoxEvaluator
from smalldet.evaluation.event_frames import Steps
from smalldet.evaluation.gallery import (
    LEAST_SHOWN,
    MAX_OBJECTS,
    OUTSIDE,
    SIDE,
    choose_objects,
    crop,
    write_gallery,
)


def scene(sides, predictions: int = 0, crowd=None) -> Matches:
    """One image a row with an object of each side, and ``predictions`` false alarms."""
    rng = np.random.default_rng(predictions)
    crowd = np.zeros(len(sides), bool) if crowd is None else crowd
    return match_images(
        ImageBoxes(
            image_id=7 + row,
            boxes=rng.uniform(0, 50, (predictions, 4)).cumsum(axis=1),
            scores=rng.uniform(0, 1, predictions),
            classes=np.zeros(predictions, int),
            gt_boxes=[[10, 10, 10 + side, 10 + side]],
            gt_classes=[row % 2],
            gt_areas=[side**2],
            gt_crowd=[crowd[row]],
        )
        for row, side in enumerate(sides)
    )


def blank(image_id: int) -> np.ndarray:
    return np.full((200, 300, 3), image_id, np.uint8)


def test_the_choice_depends_on_the_truth_alone():
    sides = np.random.default_rng(0).integers(5, 100, 300)
    first, second = (choose_objects(scene(sides, count)) for count in (0, 5))
    assert first.tolist() == second.tolist()
    assert len(first) == MAX_OBJECTS and (np.diff(first) > 0).all()


def test_small_objects_are_favoured_and_others_shown_too():
    sides = np.array([10, 40] * 500)
    small = (sides[choose_objects(scene(sides), 200)] == 10).mean()
    assert 0.85 < small < 1  # 16 : 1 at first, and fewer small ones are left with each draw


def test_crowds_and_what_is_beyond_the_limit_are_left_out():
    matches = scene([10, 10, 0, 10], crowd=np.array([True, False, False, False]))
    assert choose_objects(matches).tolist() == [1, 2, 3]
    assert len(choose_objects(matches, 2)) == 2


def outline(picture: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((picture == CLASS_COLOURS[0]).all(axis=2))
    return columns.min(), rows.min(), columns.max(), rows.max()


@pytest.mark.parametrize("side", [2, 8, 16, 30, 60])
def test_the_object_is_in_the_middle_at_its_scale(side):
    left, top = 90, 70
    image = np.zeros((200, 300, 3), np.uint8)
    image[top : top + side, left : left + side] = 250
    picture = crop(image, np.array([left, top, left + side, top + side], float))
    assert picture.shape == (SIDE, SIDE, 3)
    shown = max(LEAST_SHOWN, 3 * side)
    x0, y0, x1, y1 = outline(picture)
    for low, high in ((x0, x1), (y0, y1)):
        assert high - low == pytest.approx(side * SIDE / shown, abs=1)
        assert (low + high) / 2 == pytest.approx(SIDE / 2, abs=SIDE / shown + 1)
    assert (picture[(y0 + y1) // 2, (x0 + x1) // 2] > 200).all() or side == 2
    assert picture[2, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "box",
    [
        [-20, -20, 10, 10],
        [295, 195, 320, 230],
        [0, 0, 300, 200],
        [400, 300, 420, 310],
        [5, 5, 5, 5],
        [0, 0, 1e6, 1e6],  # needs no huge picture
    ],
)
def test_boxes_at_and_beyond_the_border_have_a_crop(box):
    picture = crop(blank(200), np.array(box, float))
    assert picture.shape == (SIDE, SIDE, 3)
    if box[0] == 400:
        assert picture[0, 0].tolist() == list(OUTSIDE)


def objects_in(folder) -> list[dict]:
    return json.loads((folder / "gallery.json").read_text())["objects"]


def test_files_and_rows_belong_together(tmp_path):
    matches = scene([10, 20, 30])
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "999.png").write_bytes(b"of an earlier evaluation")
    assert write_gallery(tmp_path, matches, blank) == 3
    objects = objects_in(tmp_path)
    assert [entry["gt"] for entry in objects] == [0, 1, 2]
    assert [entry["area"] for entry in objects] == [100, 400, 900]
    assert [entry["class"] for entry in objects] == [0, 1, 0]
    for entry in objects:
        picture = cv2.imread(str(tmp_path / entry["file"]))
        assert picture.shape == (SIDE, SIDE, 3)
        assert picture[48, 48].tolist() == [entry["image_id"]] * 3
    assert len(list((tmp_path / "gallery").iterdir())) == 3
    assert write_gallery(tmp_path, scene([]), blank) == 0 and objects_in(tmp_path) == []


def test_missing_pictures_are_counted_and_said(tmp_path, caplog):
    def picture(image_id: int) -> np.ndarray:
        if image_id == 8:
            raise DataError("The image 8.png cannot be read.")
        return blank(image_id)

    with caplog.at_level(logging.WARNING):
        assert write_gallery(tmp_path, scene([10, 20, 30]), picture) == 2
    assert "1 objects have no crop" in caplog.text and "8.png" in caplog.text
    objects = objects_in(tmp_path)
    assert [entry["image_id"] for entry in objects] == [7, 9]


def test_the_image_evaluator_reads_its_own_images(tmp_path):
    splits = write_dataset(tmp_path, {1: [{"bbox": [100, 50, 20, 20], "category_id": 2}], 2: []})
    image = np.zeros((400, 400, 3), np.uint8)
    image[50:70, 100:120] = (250, 0, 0)  # RGB
    cv2.imwrite(str(tmp_path / "1.png"), image[..., ::-1])
    evaluator = CocoBoxEvaluator(splits, str(tmp_path / "out"))
    for image_id in (1, 2):
        show_image(evaluator, image_id, to_instances([], [], []))
    evaluator.evaluate()
    assert not (tmp_path / "out" / "gallery.json").exists()  # only when it is asked for
    evaluator.write_gallery()
    (entry,) = objects_in(tmp_path / "out")
    picture = cv2.imread(str(tmp_path / "out" / entry["file"]))[..., ::-1]
    assert picture[48, 48].tolist() == [250, 0, 0]


def test_an_evaluator_that_leaves_no_files_leaves_no_gallery(tmp_path):
    splits = write_dataset(tmp_path, {1: []})
    CocoBoxEvaluator(splits).write_gallery()
    EventBoxEvaluator(toy_recordings()).write_gallery()
    assert [path.name for path in tmp_path.iterdir()] == ["truth.json"]


def test_the_event_evaluator_draws_the_step_in_pixels_of_the_sensor(tmp_path, monkeypatch):
    def events(recording, start: int, stop: int) -> np.ndarray:
        """ON events in BOX, in pixels of the network's input, in step 3 alone."""
        found = np.zeros((stop - start, 20, HEIGHT, WIDTH), np.uint8)
        if start == 3:
            left, top, right, bottom = map(int, BOX)
            found[0, 15, top:bottom, left:right] = 9
        return found

    monkeypatch.setattr(ToyRecording, "events", events, raising=False)
    evaluator = EventBoxEvaluator(toy_recordings(), str(tmp_path))
    show(evaluator, (frame(13, [BOX], [CAR]), found()), (frame(4), found()))
    evaluator.evaluate()
    evaluator.write_gallery()
    (entry,) = objects_in(tmp_path)
    assert (entry["image_id"], entry["gt"], entry["area"]) == (13, 0, 100 * 100)
    picture = cv2.imread(str(tmp_path / entry["file"]))[..., ::-1]
    np.testing.assert_allclose(picture[48, 48], DARK.brighter, atol=1)
    np.testing.assert_allclose(picture[5, 5], DARK.background, atol=1)


@pytest.mark.parametrize(("image_id", "recording", "step"), [(0, 0, 0), (9, 0, 9), (10, 1, 0)])
def test_image_ids_count_the_steps_of_all_recordings(image_id, recording, step):
    recordings = records_of(toy_recordings("none"))
    assert Steps(recordings).find(image_id) == (recordings[recording], step)
    assert recordings[recording].closed
