"""Recordings in one piece, in several, from a file and prepared give the same detections."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from event_toys import HEIGHT, WIDTH, make_events, write_dat, write_recording
from raw_toys import write_raw

from eventcam.class_maps import get_class_map
from eventcam.errors import EventDataError
from eventcam.io import Events, write_h5_recording
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.recording import Preparation
from eventcam.representations import StackedHistogram
from eventcam.windows import WINDOW_US, LiveWindows, window_ends
from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.pafpn import PAFPN
from smalldet.predict.command import Options, predict_all
from smalldet.predict.footage import open_footage
from smalldet.predict.recordings import EventPredictor

EVENTS = make_events(3000, last_us=630_000)


@pytest.fixture(scope="module")
def model() -> RecurrentDetector:
    return detector(in_channels=20)


def detector(in_channels: int) -> RecurrentDetector:
    torch.manual_seed(0)
    rvt = MaxViTRNN(embed_dim=8, dim_head=4, in_channels=in_channels, partition_split=1)
    head = YOLOXHead(num_classes=8, score_threshold=0.0, max_detections=20)
    return RecurrentDetector(PAFPN(rvt, depth=0.33), head)


@pytest.fixture
def predictor(model) -> EventPredictor:
    return EventPredictor(model, get_class_map("etram_cls8"))


def equal(one, other) -> bool:
    """Whether two lists of frames hold the same detections at the same times."""
    return len(one) == len(other) and all(
        a.time_us == b.time_us
        and np.array_equal(a.histogram, b.histogram)
        and torch.allclose(a.instances.scores, b.instances.scores, atol=1e-6)
        and torch.allclose(a.instances.pred_boxes.tensor, b.instances.pred_boxes.tensor, atol=1e-3)
        for a, b in zip(one, other, strict=True)
    )


def test_pieces_equal_the_whole(predictor):
    whole = list(predictor.stream(EVENTS, sensor=(HEIGHT, WIDTH)))
    assert [frame.time_us for frame in whole] == list(range(WINDOW_US, 630_000, WINDOW_US))
    assert all(len(frame.instances) for frame in whole)
    predictor.reset()
    rng = np.random.default_rng(1)
    cuts = [0, *np.sort(rng.integers(0, len(EVENTS), 25)), len(EVENTS)]
    parts = [EVENTS[start:stop] for start, stop in pairwise(cuts)]
    pieces = [f for part in parts for f in predictor.stream(part, sensor=(HEIGHT, WIDTH))]
    assert equal(pieces, whole)


def test_memory_goes_on_until_it_is_reset(predictor):
    histograms = np.stack([f.histogram for f in predictor.stream(EVENTS, (HEIGHT, WIDTH))])
    predictor.reset()
    first, later = (list(predictor.stream(part)) for part in (histograms[:6], histograms[6:]))
    predictor.reset()
    assert equal(first + later, list(predictor.stream(histograms)))
    predictor.reset()
    anew = list(predictor.stream(histograms[6:]))
    moved = [frame._replace(time_us=frame.time_us - 6 * WINDOW_US) for frame in later]
    assert not equal(anew, moved)


@pytest.mark.parametrize("kind", ["h5", "dat", "raw"])
def test_a_file_is_a_recording_of_its_own(predictor, tmp_path, kind):
    file = tmp_path / f"some_td.{kind}"
    if kind == "h5":
        write_h5_recording(file, [EVENTS], WIDTH, HEIGHT)
    elif kind == "dat":
        write_dat(file, EVENTS)
    else:
        write_raw(file, "EVT3", EVENTS, WIDTH, HEIGHT)
    list(predictor.stream(make_events(500, seed=3), (HEIGHT, WIDTH)))  # is forgotten
    found = list(predictor.stream(file))
    predictor.reset()
    streamed = list(predictor.stream(EVENTS, (HEIGHT, WIDTH)))
    assert equal(found[:-1], streamed)
    assert found[-1].time_us == 650_000  # the last window is complete when the file ends


def test_structured_arrays_are_events(predictor):
    fields = np.zeros(len(EVENTS), [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "i1")])
    for name in "xypt":
        fields[name] = getattr(EVENTS, name)
    found = list(predictor.stream(fields, (HEIGHT, WIDTH)))
    predictor.reset()
    assert equal(found, list(predictor.stream(EVENTS, (HEIGHT, WIDTH))))


def test_half_resolution_and_least_score(model):
    predictor = EventPredictor(model, get_class_map("etram_cls8"), downsample="sum")
    found = list(predictor.stream(EVENTS, (HEIGHT, WIDTH), min_score=2.0))
    assert found[0].histogram.shape == (20, HEIGHT // 2, WIDTH // 2) and predictor.factor == 2
    assert not any(len(frame.instances) for frame in found)


@pytest.mark.parametrize("downsample", ["none", "sum"])
def test_voxel_grids_of_a_raw_recording_are_those_of_its_preparation(tmp_path, downsample):
    write_recording(tmp_path / "raw/val", "street", EVENTS)
    settings = Preparation(downsample=downsample, representation="voxel")
    prepare_all(tmp_path / "raw", tmp_path / "out", settings)
    predictor = EventPredictor(detector(10), get_class_map("etram_cls8"), downsample, "voxel")
    raw = list(open_footage(tmp_path / "raw/val/street_td.h5", predictor).frames)
    grids = {frame.time_us: frame.histogram for frame in raw}
    prepared = list(open_footage(tmp_path / "out/val/street", predictor).frames)
    assert len(prepared) > 10
    assert all(
        np.array_equal(f.histogram, grids[f.time_us]) for f in prepared if f.time_us in grids
    )
    predictor.reset()
    live = list(predictor.stream(EVENTS, (HEIGHT, WIDTH)))
    assert equal(live, raw[: len(live)]) and live[0].histogram.dtype == np.float16
    assert all(len(frame.instances) for frame in live)
    if downsample == "sum":  # the smaller pictures, and few: encoding them takes most of the time
        write_recording(tmp_path / "short", "street", EVENTS[EVENTS.t < 200_000])
        done = predict_all(predictor, str(tmp_path / "short"), Options(tmp_path / "videos"))
        assert [path.name for path in done.written] == ["street_td.mp4"] and done.frames == 4


def test_a_prepared_recording_of_the_other_representation_is_refused(predictor, tmp_path):
    write_recording(tmp_path / "raw/val", "street", EVENTS)
    settings = Preparation(downsample="none", representation="voxel")
    prepare_all(tmp_path / "raw", tmp_path / "out", settings)
    with pytest.raises(EventDataError, match="none voxel; asked for was none histogram"):
        open_footage(tmp_path / "out/val/street", predictor)


def test_events_without_a_sensor_and_other_things_are_refused(predictor):
    with pytest.raises(ValueError, match=r"sensor=\(height, width\)"):
        list(predictor.stream(EVENTS))
    with pytest.raises(ValueError, match="list"):
        list(predictor.stream([1, 2], (HEIGHT, WIDTH)))


def test_live_windows_are_those_that_end_at_whole_multiples():
    start = 7 * WINDOW_US + 1
    events = Events(*(x[:0] for x in (EVENTS.x, EVENTS.y, EVENTS.p, EVENTS.t)))
    live = LiveWindows()
    assert not list(live.push(events))
    late = Events(EVENTS.x, EVENTS.y, EVENTS.p, EVENTS.t - EVENTS.t[0] + start)
    windows = list(live.push(late))
    assert [end for end, _ in windows] == list(window_ends(start, int(late.t[-1])))[:-1]
    for end, inside in windows:
        expected = late[(late.t > end - WINDOW_US) & (late.t <= end)]
        assert np.array_equal(inside.t, expected.t)
    histogram = StackedHistogram(HEIGHT, WIDTH)
    assert sum(int(histogram(inside).sum() > 0) for _, inside in windows) == len(windows)
