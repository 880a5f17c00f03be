"""Predictions of an evaluation over the events of their recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from event_toys import HEIGHT, WIDTH, write_prepared

from eventcam.errors import EventDataError
from eventcam.io.rvt_recording import RvtRecording
from eventcam.render.evaluation import Evaluation, View, write_evaluation
from eventcam.render.footage import SHEET_IMAGES
from pictures.boxes import CLASS_COLOURS

ZOOM, GAP = 8, 6
STEPS, CLASS = 8, 2
BOX = (16.0, 20.0, 48.0, 36.0)  # px of the sensor


def prepared(root: Path, name: str, downsample: str = "none") -> RvtRecording:
    """Windows of 50 ms; every second one has a box far from the predicted one."""
    nothing, steps = np.zeros((STEPS, 20, HEIGHT, WIDTH), np.uint8), [*range(1, STEPS, 2)]
    box = (2, 2, 8, 8)
    return RvtRecording(
        write_prepared(root / "val" / name, downsample, nothing, steps, box, CLASS), 8
    )


def evaluated(folder: Path, names: list[str], times_us: list[int]) -> Path:
    """``matches.npz``: in each image one box of score 0.8 and one, far away, of 0.2."""
    count = len(times_us)
    far = (0.0, 40.0, 60.0, 46.0)
    np.savez(
        folder / "matches.npz",
        image_recording=np.array(names),
        image_timestamp_us=np.array(times_us),
        det_image=np.repeat(np.arange(count), 2),
        det_box=np.array([BOX, far] * count).reshape(-1, 4),
        det_class=np.full(2 * count, CLASS),
        det_score=np.array([0.8, 0.2] * count),
    )
    return folder / "matches.npz"


def picture(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[:, :, ::-1]


def in_class_colour(image: np.ndarray, x: float, y: float) -> bool:
    """Whether a sheet of one picture has a predicted box at (x, y), px of the representation."""
    below_title = image.shape[0] - GAP - HEIGHT * ZOOM
    pixel = image[below_title + round(y * ZOOM), GAP + round(x * ZOOM)].astype(int)
    return bool(np.abs(pixel - CLASS_COLOURS[CLASS]).max() < 8)


@pytest.mark.parametrize(("downsample", "factor"), [("none", 1.0), ("nearest", 0.5), ("sum", 0.5)])
def test_a_predicted_box_is_where_it_belongs(tmp_path, downsample, factor):
    recording = prepared(tmp_path, "street", downsample)
    file = evaluated(tmp_path, ["street"], [100_000])
    view = View(start=0.05, seconds=0.05)
    line = write_evaluation(file, [recording], ("a", "b", "c"), tmp_path / "out.png", view)
    assert "1 images of street; 1 predictions" in line
    image = picture(tmp_path / "out.png")
    left, top, right, bottom = (factor * side for side in BOX)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    for x, y in ((left, middle_y), (right, middle_y), (middle_x, bottom)):
        assert in_class_colour(image, x, y)
    assert not in_class_colour(image, middle_x, middle_y)
    assert not in_class_colour(image, factor * 60, factor * 43)  # the weak one


def test_weak_predictions_are_shown_when_asked_for(tmp_path):
    recording, file = prepared(tmp_path, "street"), evaluated(tmp_path, ["street"], [100_000])
    view = View(min_score=0.1, start=0.05, seconds=0.05)
    write_evaluation(file, [recording], (), tmp_path / "out.png", view)
    assert in_class_colour(picture(tmp_path / "out.png"), 60, 43)


def test_predictions_belong_to_their_recording_and_time(tmp_path):
    file = evaluated(tmp_path, ["b", "a", "b"], [100_000, 100_000, 200_000])
    evaluation = Evaluation(file)
    assert evaluation.recordings == ["b", "a"]
    found = evaluation.predictions("b", 0.5)
    assert list(found) == [100_000, 200_000]
    assert all(boxes.boxes.tolist() == [list(BOX)] for boxes in found.values())
    assert len(evaluation.predictions("b")[100_000].boxes) == 2


def test_a_video_shows_every_window_and_boxes_stay_until_the_next_ones(tmp_path):
    recording = prepared(tmp_path, "street")
    file = evaluated(tmp_path, ["street"] * 2, [100_000, 300_000])
    write_evaluation(file, [recording], (), tmp_path / "out.mp4", View())
    reader = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    frames = [reader.read()[1][:, :, ::-1] for _ in range(STEPS)]
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == STEPS and not reader.read()[0]
    below_title = frames[0].shape[0] - HEIGHT * ZOOM
    edge = [frame[below_title + 28 * ZOOM, 16 * ZOOM].astype(int) for frame in frames]
    shown = [bool(np.abs(pixel - CLASS_COLOURS[CLASS]).max() < 60) for pixel in edge]
    assert shown == [False, True, True, False, False, True, True, False]


def test_a_sheet_shows_labelled_times_only_and_so_many(tmp_path):
    recording = prepared(tmp_path, "street")
    file = evaluated(tmp_path, ["street"] * 4, [100_000, 200_000, 300_000, 400_000])
    view = View()
    assert view.images == SHEET_IMAGES
    for images, expected in ((12, 4), (3, 3), (1, 1)):
        line = write_evaluation(
            file, [recording], (), tmp_path / "out.png", replace(view, images=images)
        )
        assert line.split(": ")[1].startswith(f"{expected} images of street; 4 predictions")


def test_an_unknown_recording_is_a_sentence_with_the_nearest_name(tmp_path):
    recording, file = prepared(tmp_path, "street"), evaluated(tmp_path, ["street"], [100_000])
    with pytest.raises(EventDataError, match=r"no recording 'steet'.*Did you mean 'street'\?"):
        write_evaluation(file, [recording], (), tmp_path / "o.png", View(recording="steet"))
    with pytest.raises(EventDataError, match="0 recordings are in the data set"):
        write_evaluation(file, [], (), tmp_path / "o.png", View())


def test_other_data_than_were_evaluated_are_a_sentence(tmp_path):
    recording, file = prepared(tmp_path, "street"), evaluated(tmp_path, ["street"], [100_001])
    with pytest.raises(EventDataError, match="not those that were evaluated"):
        write_evaluation(file, [recording], (), tmp_path / "o.png", View())


def test_files_without_recordings_or_damaged_are_sentences(tmp_path):
    with pytest.raises(EventDataError, match="no evaluation of recordings"):
        Evaluation(evaluated(tmp_path, [""], [0]))
    (tmp_path / "matches.npz").write_bytes(b"nothing")
    with pytest.raises(EventDataError, match="cannot be read"):
        Evaluation(tmp_path / "matches.npz")


def test_the_best_recording_is_that_of_most_objects_of_most_classes(tmp_path):
    """``many`` has more objects found, of one of its classes; ``all`` has some of both found."""
    file = evaluated(tmp_path, ["many", "all"], [100_000, 100_000])
    strong, weak, none = 0, 1, -1
    truth = [(0, 0, strong)] * 3 + [(0, 1, none), (0, 1, weak)] + [(1, 0, 2), (1, 0, none)]
    truth += [(1, 1, 2), (1, 1, 2)]
    image, label, found = np.array(truth).T
    more = {"gt_image": image, "gt_class": label, "gt_det": found[:, None]}
    np.savez(file, **dict(np.load(file)), **more)
    assert Evaluation(file).best(0.3) == "all"
    assert Evaluation(file).best(0.1) == "many"
