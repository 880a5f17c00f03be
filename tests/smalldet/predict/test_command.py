"""From paths to pictures, videos and JSON; nothing is overwritten, nothing left out in silence."""

from __future__ import annotations

import json

import cv2
import h5py
import numpy as np
import pytest
from event_toys import HEIGHT, WIDTH, make_events, make_labels, write_recording
from squares import predictor, with_squares
from test_recordings import model  # noqa: F401  (a fixture)

from eventcam.class_maps import get_class_map
from eventcam.io import write_h5_recording
from pictures.video import write_video
from smalldet.predict.command import Options, predict_all, target_files
from smalldet.predict.inputs import find_inputs
from smalldet.predict.recordings import EventPredictor


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, left in (("a.jpg", 5), ("b.png", 20), ("c.bmp", 40)):
        image = with_squares(60, 90, [(left, 10), (left + 30, 30)])
        cv2.imwrite(str(folder / name), image)
    return folder


def read(path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return image


def test_a_folder_becomes_pictures_and_json(photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"no image")
    (photos / "notes.txt").write_text("x")
    done = predict_all(predictor(), str(photos), Options(tmp_path / "out", save_json=True))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.jpg", "b.png", "c.png", "predictions.json"}
    assert (done.frames, done.boxes) == (3, 6) and done.seconds > 0
    assert "broken.jpg" in str(done) and "1 files of other kinds" in str(done)
    original = cv2.resize(read(photos / "b.png"), None, fx=7, fy=7, interpolation=cv2.INTER_CUBIC)
    assert read(tmp_path / "out/b.png").shape == original.shape
    assert (read(tmp_path / "out/b.png") != original).any()
    entries = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [e["bbox"] for e in entries if e["file_name"] == "b.png"] == [
        [20, 10, 12, 12],
        [50, 30, 12, 12],
    ]
    assert {e["category"] for e in entries} == {"light"} and entries[0]["category_id"] == 1


def test_one_image_a_pattern_and_scores(photos, tmp_path):
    strict = Options(tmp_path / "strict", min_score=0.6, save_json=True)
    found = predict_all(predictor(), str(photos / "a.jpg"), strict)
    assert found.boxes == 1 and "--score" not in str(found)
    stricter = Options(tmp_path / "strict", min_score=0.99)
    assert "0.99 or more: --score" in str(predict_all(predictor(), str(photos / "a.jpg"), stricter))
    done = predict_all(predictor(), str(photos / "[ab].*"), Options(tmp_path / "two"))
    assert [path.name for path in done.written] == ["a.jpg", "b.png"]


def test_labels_beside_the_images_are_drawn(photos, tmp_path):
    content = {
        "images": [{"id": 3, "file_name": "a.jpg"}],
        "categories": [{"id": 9, "name": "red"}, {"id": 4, "name": "unknown"}],
        "annotations": [
            {"image_id": 3, "category_id": 9, "bbox": [60, 40, 20, 15]},
            {"image_id": 3, "category_id": 4, "bbox": [0, 40, 20, 15]},
        ],
    }
    (photos / "_annotations.coco.json").write_text(json.dumps(content))
    for shown in (False, True):
        options = Options(tmp_path / str(shown), show_truth=shown)
        predict_all(predictor(), str(photos / "a.jpg"), options)
    changed = (read(tmp_path / "True/a.jpg") != read(tmp_path / "False/a.jpg")).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert columns.min() > 7 * 55 and rows.min() > 7 * 38  # at the known class's box alone


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[" * 10**5,
        '{"images": []}',
        '{"images": {}, "categories": [3], "annotations": []}',
        '{"images": [{"id": [], "file_name": "a.jpg"}], "categories": [], "annotations": []}',
        *(
            '{"images": [{"id": 3, "file_name": "a.jpg"}], "categories": [{"id": 9, "name": "red"}]'
            f', "annotations": [{{"image_id": 3, "category_id": 9, "bbox": {bbox}}}]}}'
            for bbox in ("null", '"1234"', "[1, 2, 3]", "{}", f"[1, 2, 3, 1{400 * '0'}]")
        ),
    ],
)
def test_labels_that_cannot_be_read_are_named(photos, tmp_path, content):
    (photos / "_annotations.coco.json").write_text(content)
    options = Options(tmp_path / "out", show_truth=True)
    done = predict_all(predictor(), str(photos / "a.jpg"), options)
    (sentence,) = done.unreadable
    assert "_annotations.coco.json" in sentence and "--show-truth" in sentence


def test_images_of_other_depths_are_named_and_counted(photos, tmp_path):
    from PIL import Image

    grey = np.full((60, 90), 300, np.int32)
    Image.fromarray(grey).save(photos / "deep.tif")
    Image.fromarray(grey.astype(np.uint16)).save(photos / "sixteen.png")
    done = predict_all(predictor(), str(photos / "*e*.*"), Options(tmp_path / "out"))
    assert {path.name for path in done.written} == {"sixteen.png"}
    assert len(done.unreadable) == 1 and "deep.tif" in done.unreadable[0]
    assert "1 inputs could not be read" in str(done)


def test_a_video_becomes_a_video_of_as_many_frames(tmp_path):
    frames = [with_squares(64, 96, [(2 * k, 20)]) for k in range(8)]
    write_video(tmp_path / "in.mp4", iter(frames), 12.5)
    options = Options(tmp_path / "out", save_json=True)
    done = predict_all(predictor(least=6), str(tmp_path / "in.mp4"), options)
    reader = cv2.VideoCapture(str(tmp_path / "out/in.mp4"))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 8 == done.frames
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    entries = json.loads((tmp_path / "out/predictions.json").read_text())
    lefts = {e["image_id"]: e["bbox"][0] for e in entries}
    assert all(abs(lefts[k] - 2 * k) < 3 for k in range(1, 8))


def test_a_recording_without_labels_becomes_a_video(model, tmp_path):  # noqa: F811
    write_h5_recording(tmp_path / "street_td.h5", [make_events(1000, 200_000)], WIDTH, HEIGHT)
    events = EventPredictor(model, get_class_map("etram_cls8"))
    options = Options(tmp_path / "out", min_score=0.0, save_json=True, show_truth=True)
    done = predict_all(events, str(tmp_path / "street_td.h5"), options)
    assert done.written[0].name == "street_td.mp4" and done.frames == 4
    reader = cv2.VideoCapture(str(done.written[0]))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    entries = json.loads((tmp_path / "out/predictions.json").read_text())
    assert {e["time_us"] for e in entries} == set(range(50_000, 200_001, 50_000))


def test_labels_of_a_raw_recording_come_in_classes_and_pixels_of_the_model(model, tmp_path):  # noqa: F811
    from smalldet.predict.footage import open_footage

    labels = make_labels([100_000], class_id=0)  # a pedestrian
    write_recording(tmp_path, "street", labels=labels)
    halved = EventPredictor(model, get_class_map("etram_cls8"), "nearest")
    footage = open_footage(tmp_path / "street_td.h5", halved)
    truth = footage.truth(100_000)
    assert halved.class_names[truth.classes[0]] == "Pedestrian"
    assert truth.boxes[0].tolist() == pytest.approx([5, 4, 15, 12], abs=1)
    assert not len(footage.truth(400_000).boxes)


def test_the_source_is_never_overwritten(photos):
    with pytest.raises(ValueError, match="--out"):
        predict_all(predictor(), str(photos / "a.jpg"), Options(photos))
    assert read(photos / "a.jpg").shape == (60, 90, 3)


def test_equal_names_of_two_folders_stay_apart(photos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jpg").write_bytes((photos / "a.jpg").read_bytes())
    done = predict_all(predictor(), str(tmp_path / "*/a.jpg"), Options(tmp_path / "out"))
    assert {path.name for path in done.written} == {"photos_a.jpg", "other_a.jpg"}
    (photos / "c.png").write_bytes((photos / "b.png").read_bytes())  # beside c.bmp
    done = predict_all(predictor(), str(photos / "c.*"), Options(tmp_path / "out"))
    assert {path.name for path in done.written} == {"photos_c.png", "photos_c.bmp.png"}
    twins = [tmp_path / place / "same" / "a.jpg" for place in "xy"]
    with pytest.raises(ValueError, match="one name"):
        target_files(twins, tmp_path / "out")


def truncated(path, target) -> None:
    """A copy of a file without its second half."""
    content = path.read_bytes()
    target.write_bytes(content[: len(content) // 2])


def test_pictures_and_videos_that_cannot_be_read_do_not_end_those_behind_them(photos, tmp_path):
    frames = [with_squares(64, 96, [(2 * k, 20)]) for k in range(20)]
    write_video(tmp_path / "whole.mp4", iter(frames), 12.5)
    truncated(tmp_path / "whole.mp4", photos / "d_half.mp4")
    truncated(photos / "a.jpg", photos / "a_half.jpg")
    (photos / "a_empty.png").touch()
    (photos / "a_text.jpg").write_text("no picture")
    (photos / "d_text.avi").write_text("no video")
    (tmp_path / "whole.mp4").rename(photos / "e.mp4")
    done = predict_all(predictor(), str(photos), Options(tmp_path / "out", save_json=True))
    hostile = {"d_half.mp4", "a_empty.png", "a_text.jpg", "d_text.avi"}
    named = {name for name in hostile if any(name in text for text in done.unreadable)}
    assert named == hostile and f"{len(done.unreadable)} inputs" in str(done)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"a.jpg", "b.png", "c.png", "e.mp4", "predictions.json"} <= written
    assert not written & hostile
    entries = json.loads((tmp_path / "out/predictions.json").read_text())
    assert {"a.jpg", "b.png", "e.mp4"} <= {e["file_name"] for e in entries}


def test_a_video_that_ends_early_is_written_and_named(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "x.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for left in range(40):
        writer.write(with_squares(48, 64, [(left, 9)]))
    writer.release()
    truncated(tmp_path / "x.avi", tmp_path / "half.avi")
    done = predict_all(predictor(), str(tmp_path / "half.avi"), Options(tmp_path / "out"))
    assert [path.name for path in done.written] == ["half.mp4"] and 0 < done.frames < 35
    assert "half.avi" in done.unreadable[0] and "of 40" in done.unreadable[0]


def test_recordings_that_cannot_be_read_do_not_end_those_behind_them(model, tmp_path):  # noqa: F811
    folder = tmp_path / "recordings"
    folder.mkdir()
    write_h5_recording(folder / "z_td.h5", [make_events(1000, 200_000)], WIDTH, HEIGHT)
    (folder / "a_td.h5").touch()
    (folder / "b_td.dat").write_text("no recording")
    truncated(folder / "z_td.h5", folder / "c_td.h5")
    events = EventPredictor(model, get_class_map("etram_cls8"))
    done = predict_all(events, str(folder), Options(tmp_path / "out"))
    assert [path.name for path in done.written] == ["z_td.mp4"] and done.frames == 4
    for name, text in zip("abc", sorted(done.unreadable), strict=True):
        assert f"{name}_td" in text


def test_a_recording_with_damaged_blocks_is_written_and_named(model, tmp_path):  # noqa: F811
    path = tmp_path / "street_td.h5"
    write_h5_recording(path, [make_events(200_000, 400_000)], WIDTH, HEIGHT)
    with h5py.File(path) as file:
        block = file["events/y"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[block.byte_offset : block.byte_offset + block.size] = bytes(block.size)
    path.write_bytes(content)
    write_h5_recording(tmp_path / "whole_td.h5", [make_events(500, 100_000)], WIDTH, HEIGHT)
    events = EventPredictor(model, get_class_map("etram_cls8"))
    done = predict_all(events, str(tmp_path), Options(tmp_path / "out"))
    assert [file.name for file in done.written] == ["street_td.mp4", "whole_td.mp4"]
    assert done.frames == 8 + 2
    (text,) = done.unreadable
    assert "street_td.h5" in text and "200,000" in text and text in str(done)


def test_what_is_not_there_or_of_another_kind_ends_in_a_sentence(photos, tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        find_inputs(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="0 files"):
        find_inputs(str(tmp_path / "empty"))
    write_recording(tmp_path, "street")
    with pytest.raises(ValueError, match="images or videos"):
        predict_all(predictor(), str(tmp_path / "street_td.h5"), Options(tmp_path / "out"))
