"""Cutting a stream into windows: the same for blocks of any size, and on hostile streams."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from event_toys import HEIGHT, WIDTH, join, make_events, one_event, same_events
from hypothesis import given, settings
from hypothesis import strategies as st

from eventcam.io import Events
from eventcam.representations import StackedHistogram
from eventcam.windows import Windows, clean_chunks

ENDS = [50_000, 100_000, 149_000, 201_000, 600_000, 650_000, 990_000, 1_040_000]


def blocks(events, size):
    return iter([events[i : i + size] for i in range(0, len(events), size)])


def hostile(count=2000, seed=0):
    """Unsorted, with strays outside the sensor and times below zero."""
    events = make_events(count, seed=seed)
    rng = np.random.default_rng(seed)
    times = events.t.copy()
    times[rng.integers(0, count, 50)] -= rng.integers(0, 2_000_000, 50)
    x = events.x.copy()
    x[rng.integers(0, count, 20)] += 33_000
    return Events(x, events.y, events.p, times)


def cut(events, size, closed=False, **options):
    counts = Counter()
    stream = clean_chunks(blocks(events, size), WIDTH, HEIGHT, counts)
    windows = Windows(stream, closed=closed, **options)
    return list(windows.cut(ENDS)), counts, windows


@pytest.mark.parametrize("closed", [False, True])
def test_windows_equal_a_search_over_the_whole_recording(closed):
    events = make_events(3000)
    for end, found in zip(ENDS, cut(events, 170, closed)[0], strict=True):
        later = events.t >= end - 50_000 if closed else events.t > end - 50_000
        assert same_events(found, events[later & (events.t <= end)])


@given(size=st.integers(1, 2500), seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_blocks_of_any_size_give_equal_histograms(size, seed):
    events = hostile(seed=seed)
    whole, one_size = cut(events, len(events)), cut(events, size)
    histogram = StackedHistogram(HEIGHT, WIDTH)
    for a, b in zip(whole[0], one_size[0], strict=True):
        assert np.array_equal(histogram(a), histogram(b))
    changed = [{k: v for k, v in c.items() if k != "events_read"} for _, c, _ in (whole, one_size)]
    assert whole[2].exhausted or changed[0] == changed[1]


def test_events_on_a_border_are_in_one_window_or_as_published_in_two():
    events = join(one_event(1, 1, 0), one_event(1, 1, 50_000), one_event(1, 1, 100_000))
    assert [len(part) for part in cut(events, 2)[0]][:3] == [1, 1, 1]
    assert [len(part) for part in cut(events, 2, closed=True)[0]][:3] == [2, 2, 1]


def test_what_is_dropped_or_raised_is_counted():
    stray = join(one_event(WIDTH, 3, 5), one_event(3, 33_014, 9_999_999), one_event(3, 3, -1))
    late = one_event(2, 2, 10)
    events = join(stray, make_events(100, last_us=500_000), late)
    counts = Counter()
    cleaned = Events.concatenate(list(clean_chunks(blocks(events, 7), WIDTH, HEIGHT, counts)))
    assert len(cleaned) == 101 and cleaned.t[-1] == 500_000
    assert counts == {
        "events_read": 104,
        "events_outside_sensor": 2,
        "events_negative_time": 1,
        "events_time_raised": 1,
    }


@pytest.mark.parametrize("size", [1, 10, 64, 1000])
def test_a_clock_that_stands_still_does_not_fill_the_memory(size):
    still = make_events(1000)
    still = Events(still.x, still.y, still.p, np.full(1000, 40_000))
    events = join(still, one_event(1, 1, 60_000), one_event(1, 1, 120_000))
    found, _, windows = cut(events, size, max_events=100)
    assert same_events(found[0], still[:100]) and windows.left_out == 900
    assert len(found[1]) >= 1


def test_no_events_give_empty_windows():
    found, _, windows = cut(Events.empty(), 5)
    assert [len(part) for part in found] == [0] * len(ENDS)
    assert windows.exhausted and windows.last_us == -1


def test_later_blocks_are_not_read_before_they_are_needed():
    events, counts = make_events(3000), Counter()
    windows = Windows(clean_chunks(blocks(events, 100), WIDTH, HEIGHT, counts))
    list(windows.cut([100_000]))
    assert 200 <= counts["events_read"] <= 500
