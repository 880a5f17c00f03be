"""Generated recordings: repeatable, labelled where events are, faithful to the sensor model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eventcam.io import BBOX_DTYPE, Events
from toydata.folder import GeneratedDataError
from toydata.streets import SceneSettings, generate_recording
from toydata.streets.sensor import ThresholdSensor
from toydata.streets.view import StreetView

SMALL = SceneSettings(width=160, height=120, seconds=1.0)
QUIET = replace(SMALL, noise_hz=0.0, flicker=0.0)


@pytest.fixture(scope="module")
def recordings():
    """Four recordings: events in one block, labels."""
    return [recorded(SMALL, seed) for seed in range(4)]


def recorded(settings: SceneSettings, seed: int) -> tuple[Events, np.ndarray]:
    events, labels = generate_recording(settings, seed)
    return Events.concatenate(list(events)), labels


# The sensor model --------------------------------------------------------------------------------


def fire(frames: list[np.ndarray], **changes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Events between frames 1 ms apart, without noise unless asked for."""
    settings = SceneSettings(**{"noise_hz": 0.0, "mismatch": 0.0, **changes})
    sensor = ThresholdSensor(frames[0], settings, np.random.default_rng(0))
    return [sensor.advance(frame, 1000.0 * (i + 1)) for i, frame in enumerate(frames[1:])]


def test_a_still_scene_gives_noise_at_its_rate_and_no_signal():
    frame = np.random.default_rng(1).normal(size=(100, 100)).astype(np.float32)
    assert all(len(times) == 0 for _, _, times in fire([frame] * 50))
    events = fire([frame] * 301, noise_hz=5.0)  # 0.3 s
    count = sum(len(times) for _, _, times in events)
    assert count == pytest.approx(100 * 100 * 5.0 * 0.3, rel=0.15)
    assert 0.5 < np.mean(np.concatenate([p for _, p, _ in events])) < 0.7


@pytest.mark.parametrize(("change", "polarity"), [(0.5, 1), (-0.5, 0)])
def test_polarity_is_the_sign_of_the_change(change, polarity):
    frame = np.zeros((8, 8), np.float32)
    ((_, polarities, times),) = fire([frame, frame + change])
    assert len(times) and np.all(polarities == polarity)


def test_more_contrast_gives_more_events_in_proportion():
    """One event per threshold; half a one is lost on average, as pixels start between two."""
    frame = np.zeros((60, 60), np.float32)
    for contrast in (0.5, 1.0, 2.0):
        ((_, _, times),) = fire([frame, frame + contrast], threshold=0.2)
        assert len(times) / frame.size == pytest.approx(contrast / 0.2 - 0.5, abs=0.05)
    ((pixels, _, _),) = fire([frame, frame + 3], threshold=0.1, mismatch=0.2)
    assert len(np.unique(np.bincount(pixels))) > 5, "thresholds vary"


def test_crossings_of_a_ramp_are_evenly_spread_whatever_the_steps():
    frame = np.zeros((1, 1), np.float32)
    ((_, _, at_once),) = fire([frame, frame + 2.2], threshold=0.2)
    assert len(at_once) in (10, 11)
    assert np.ptp(np.diff(at_once)) <= 1  # us
    in_parts = fire([frame + 0.055 * i for i in range(41)], threshold=0.2)
    in_parts = np.concatenate([times for _, _, times in in_parts])
    np.testing.assert_allclose(in_parts / 40, at_once, atol=2)


def test_the_reference_follows_so_that_a_return_cancels():
    """Up and down by the same amount gives as many OFF as ON events."""
    frame = np.zeros((30, 30), np.float32)
    up, down, again = fire([frame, frame + 1.1, frame, frame + 1.1])
    assert abs(len(up[2]) - len(down[2])) <= 900
    assert len(down[2]) == len(again[2])


# Recordings --------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_recordings_in_any_portions(recordings):
    events, labels = recordings[0]
    for frames_per_chunk in (1, 7, 1000):
        again, labels_again = generate_recording(SMALL, 0, frames_per_chunk)
        again = Events.concatenate(list(again))
        assert all(np.array_equal(getattr(events, n), getattr(again, n)) for n in "xypt")
        assert np.array_equal(labels, labels_again)
    assert len({len(events) for events, _ in recordings}) == len(recordings), "of other seeds"


def test_events_are_on_the_sensor_in_order_and_of_a_sane_rate(recordings):
    for events, _ in recordings:
        assert (events.x.dtype, events.y.dtype) == (np.uint16, np.uint16)
        assert (events.p.dtype, events.t.dtype) == (np.uint8, np.int64)
        assert events.x.max() < SMALL.width and events.y.max() < SMALL.height
        assert np.all(np.diff(events.t) >= 0)
        assert events.t[0] >= 0 and events.t[-1] < SMALL.seconds * 1e6
        rate = len(events) / SMALL.seconds / (SMALL.width * SMALL.height)
        assert 0.2 < rate < 60  # events per second and pixel
        assert 0.2 < events.p.mean() < 0.8


def test_labels_have_the_published_form_and_lie_on_the_sensor(recordings):
    for _, labels in recordings:
        assert labels.dtype == BBOX_DTYPE and labels.dtype.itemsize == 40
        assert np.all(np.diff(labels["t"]) >= 0)
        assert labels["x"].min() >= 0 and labels["y"].min() >= 0
        assert (labels["x"] + labels["w"]).max() <= SMALL.width - 1 + 1e-3
        assert (labels["y"] + labels["h"]).max() <= SMALL.height - 1 + 1e-3
        assert min(labels["w"].min(), labels["h"].min()) >= 3.99
        spacing = np.median(np.diff(np.unique(labels["t"])))
        assert round(1e6 / spacing) == SMALL.labels_per_second
        keys = labels[["t", "track_id"]]
        assert len(np.unique(keys)) == len(labels)  # one box per object and time


def test_every_class_and_many_sizes_occur():
    settings = SceneSettings(seconds=1.0)
    labels = np.concatenate([generate_recording(settings, seed)[1] for seed in range(12)])
    assert set(labels["class_id"].tolist()) == {0, 1, 2, 3, 4, 5}
    sizes = np.sqrt(labels["w"] * labels["h"])
    assert np.percentile(sizes, 90) > 2.5 * np.percentile(sizes, 10)


def test_boxes_are_where_the_events_are():
    """Without noise nearly all events are in or close to a box, and boxes have most of them."""
    inside = near = total = 0
    for seed in range(2):
        events, labels = recorded(QUIET, seed)
        for time in np.unique(labels["t"]):
            window = events[(events.t > time - 5000) & (events.t <= time)]
            boxes = labels[labels["t"] == time]
            inside += np.count_nonzero(in_any(window, boxes, 0.0))
            near += np.count_nonzero(in_any(window, boxes, 3.0))
            total += len(window)
    assert total > 3000
    assert near / total > 0.9 and inside / total > 0.75


def in_any(events: Events, boxes: np.ndarray, margin: float) -> np.ndarray:
    x, y = events.x[:, None] + 0.5, events.y[:, None] + 0.5
    right, bottom = boxes["x"] + boxes["w"], boxes["y"] + boxes["h"]
    found = (x >= boxes["x"] - margin) & (x <= right + margin)
    found &= (y >= boxes["y"] - margin) & (y <= bottom + margin)
    return found.any(axis=1)


def test_who_stands_still_stays_labelled_without_events():
    """Boxes that do not move and that no other box touches hold nothing but noise."""
    still = 0
    for seed in (1, 2):  # streets on which somebody stops
        events, labels = recorded(replace(QUIET, seconds=3.0), seed)
        for track in np.unique(labels["track_id"]):
            own = labels[labels["track_id"] == track]
            for before, after in zip(own[:-3], own[3:], strict=True):
                if any(before[name] != after[name] for name in "xywh"):
                    continue
                if is_lonely(after, labels):
                    still += 1
                    span = events[(events.t > before["t"] + 9000) & (events.t <= after["t"])]
                    assert np.count_nonzero(in_any(span, after.reshape(1), -1.0)) == 0
    assert still > 10


def is_lonely(box: np.void, labels: np.ndarray) -> bool:
    """No other labelled object has been within 60 px around that time (0.2 s)."""
    others = labels[(np.abs(labels["t"] - box["t"]) < 200_000)]
    others = others[others["track_id"] != box["track_id"]]
    apart_x = np.maximum(others["x"] - box["x"] - box["w"], box["x"] - others["x"] - others["w"])
    apart_y = np.maximum(others["y"] - box["y"] - box["h"], box["y"] - others["y"] - others["h"])
    return bool(np.all(np.maximum(apart_x, apart_y) > 10))


def test_who_is_hidden_or_outside_is_not_labelled():
    """Some are left out; the shares that decide it are shares."""
    hidden = outside = shown = 0
    for seed in range(6):
        view = StreetView(SMALL, np.random.default_rng(seed))
        for frame in range(0, SMALL.frames, 60):
            for _, on_sensor, unhidden in view.visible_shares(frame):
                assert 0 <= on_sensor < 1.3 and 0 <= unhidden <= 1  # edges are rounded to px
                outside += on_sensor < 0.1
                hidden += unhidden < 0.25
                shown += min(on_sensor, unhidden) > 0.9
    assert hidden > 3 and outside > 3 and shown > 20


def test_a_lull_is_empty_of_labels_and_changes_nothing_else():
    settings = replace(SMALL, seconds=2.0)
    usual = generate_recording(settings, 1)[1]
    labels = generate_recording(replace(settings, lull=0.5), 1)[1]
    times = np.unique(labels["t"])
    gap = np.argmax(np.diff(times))
    assert 450_000 <= times[gap + 1] - times[gap] <= 700_000
    outside = (usual["t"] < times[gap] - 100_000) | (usual["t"] > times[gap + 1] + 100_000)
    kept = (labels["t"] < times[gap] - 100_000) | (labels["t"] > times[gap + 1] + 100_000)
    assert np.array_equal(labels[kept], usual[outside]) and len(labels) < len(usual)
    with pytest.raises(GeneratedDataError, match="a third of the recording"):
        replace(settings, lull=1.0)
