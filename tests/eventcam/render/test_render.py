"""Recordings and samples as sheets and videos that read back; raw and prepared sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from event_toys import HEIGHT, WIDTH, make_labels, write_prepared

from eventcam.errors import EventDataError
from eventcam.io import Events, rvt_layout, write_bbox, write_h5_recording
from eventcam.render.footage import shot_images, write_footage
from eventcam.render.frames import count_events, labelled_boxes
from eventcam.render.sources import open_footage, sample_footage
from pictures.boxes import BoxSet


def make_events(x, y, p, t) -> Events:
    kinds = (np.uint16, np.uint16, np.uint8, np.int64)
    return Events(*(np.array(v, k) for v, k in zip((x, y, p, t), kinds, strict=True)))


def some_boxes(scores: bool = False) -> BoxSet:
    boxes = np.array([[10.0, 12.0, 30.0, 40.0]])
    return BoxSet(boxes, np.array([1]), np.array([0.75]) if scores else None)


# Images ------------------------------------------------------------------------------------------


def test_events_are_counted_by_polarity_and_strangers_left_out():
    events = make_events([3, 3, 3, 70], [5, 5, 5, 5], [1, 1, 0, 1], [0, 1, 2, 3])
    on, off = count_events(events, WIDTH, HEIGHT)
    assert (on[5, 3], off[5, 3], on.sum(), off.sum()) == (2, 1, 2, 1)


def test_labels_become_boxes():
    found = labelled_boxes(make_labels([0], class_id=5))
    assert found.boxes.tolist() == [[10, 8, 30, 24]] and found.classes.tolist() == [5]


# Sources -----------------------------------------------------------------------------------------


@pytest.fixture
def raw(tmp_path) -> Path:
    """0.4 s: one event per ms that wanders right; a box at 100 ms and 300 ms."""
    times = np.arange(1, 400) * 1000
    events = make_events(times // 10_000, np.full(399, 20), times // 1000 % 2, times)
    write_h5_recording(tmp_path / "street_td.h5", [events[:150], events[150:]], WIDTH, HEIGHT)
    write_bbox(tmp_path / "street_bbox.npy", make_labels([100_000, 300_000]))
    return tmp_path / "street_td.h5"


def test_raw_footage_shows_every_event_once_and_the_labels_of_its_time(raw):
    footage = open_footage(raw)
    shots = list(footage.shots)
    assert [shot.time_us for shot in shots] == list(range(50_000, 450_000, 50_000))
    assert sum(int(shot.counts[0].sum() + shot.counts[1].sum()) for shot in shots) == 399
    boxes = [len(shot.truth.boxes) for shot in shots]
    assert boxes == [0, 1, 0, 0, 0, 1, 0, 0]


def test_a_part_of_a_recording(raw):
    footage = open_footage(raw, start=0.1, seconds=0.1)
    assert [shot.time_us for shot in footage.shots] == [150_000, 200_000]
    with pytest.raises(EventDataError, match="Choose an earlier start"):
        open_footage(raw, start=5.0)


def test_without_a_label_file_nothing_is_known(raw):
    raw.with_name("street_bbox.npy").unlink()
    footage = open_footage(raw)
    assert all(shot.truth is None for shot in footage.shots) and len(footage.known_us) == 0


def test_predictions_appear_at_their_time(raw):
    plain = list(shot_images(open_footage(raw), predictions={}))
    drawn = list(shot_images(open_footage(raw), predictions={200_000: some_boxes(scores=True)}))
    assert [bool(np.any(a != b)) for a, b in zip(plain, drawn, strict=True)].count(True) == 1


def prepared_folder(root: Path, downsample: str) -> Path:
    """Three steps; the second has a box of 20 px on the sensor, the third is known to be empty."""
    histograms = np.zeros((3, 20, HEIGHT, WIDTH), np.uint8)
    histograms[1, 10, 5, 5] = 3
    box = (8, 8, 20, 20)
    folder = write_prepared(root / "val/street", downsample, histograms, [1], box, class_id=0)
    rvt_layout.save_array(folder, rvt_layout.KNOWN_EMPTY, np.array([2]))
    return folder


@pytest.mark.parametrize(("downsample", "size"), [("none", 20), ("nearest", 10)])
def test_prepared_footage(tmp_path, downsample, size):
    folder = prepared_folder(tmp_path, downsample)
    for path in (folder, tmp_path):
        footage = open_footage(path)
        assert footage.source == "street" and footage.known_us.tolist() == [100_000, 150_000]
        shots = list(footage.shots)
        assert [shot.time_us for shot in shots] == [50_000, 100_000, 150_000]
        assert shots[1].counts[0][5, 5] == 3 and shots[1].counts[1].sum() == 0
        assert shots[0].truth is None and len(shots[2].truth.boxes) == 0
        assert np.ptp(shots[1].truth.boxes[0, [0, 2]]) == size


def test_a_folder_without_recordings_is_a_sentence(tmp_path):
    with pytest.raises(EventDataError, match="no prepared recording"):
        open_footage(tmp_path)


def test_sheet_and_video_from_a_training_sample(tmp_path):
    sample = {
        "events": np.random.default_rng(0).integers(0, 2, (4, 20, HEIGHT, WIDTH), np.uint8),
        "boxes": [None, np.zeros((0, 4)), np.array([[4.0, 5, 20, 30]]), None],
        "classes": [None, np.zeros(0, int), np.array([2]), None],
        "timestamps_us": np.arange(1, 5) * 50_000,
    }
    for name, images in (("sheet.png", 2), ("clip.mp4", 4)):
        footage = sample_footage(sample, ("a", "b", "c"))
        assert write_footage(footage, tmp_path / name) == images
        assert (tmp_path / name).stat().st_size > 500
    with pytest.raises(EventDataError, match=r"\.png .* or \.mp4"):
        write_footage(sample_footage(sample, ()), tmp_path / "clip.gif")
