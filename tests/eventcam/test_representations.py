"""Stacked histograms: the published numbers, saturation, half resolution, foreign events.

Voxel grids against their formula, event by event.
"""

from __future__ import annotations

import numpy as np
import pytest
from event_toys import HEIGHT, WIDTH, golden, golden_events, join, make_events, one_event
from hypothesis import given, settings
from hypothesis import strategies as st

from eventcam import representations
from eventcam.errors import EventDataError
from eventcam.io import Events
from eventcam.io.rvt_layout import DTYPES
from eventcam.representations import (
    KERNEL,
    REPRESENTATIONS,
    StackedHistogram,
    VoxelGrid,
    bin_borders,
    get_representation,
    inside_sensor,
)

ARRAYS, META = golden("stacked_histogram")
WRAPS = ("hot_pixels_fast_uint8_wrap", "hot_pixels_no_cutoff")  # the published 8-bit counter does
CASES = [pytest.param(case, id=case["name"]) for case in META["cases"]]


def histogram_of(case, downsample="none"):
    sizes = (case["height"], case["width"], case["bins"], case["count_cutoff"])
    return StackedHistogram(*sizes, downsample)(golden_events(ARRAYS, f"{case['name']}/"))


def plain_counts(events, height, width, bins):
    """One event at a time, in Python."""
    counts = np.zeros((2 * bins, height, width), np.int64)
    first, last = (int(events.t[0]), int(events.t[-1])) if len(events) else (0, 0)
    for x, y, p, t in zip(events.x, events.y, events.p, events.t.tolist(), strict=True):
        bin_ = min((t - first) * bins // max(last - first, 1), bins - 1)
        counts[(p != 0) * bins + bin_, y, x] += 1
    return counts


def plain_histogram(events, histogram):
    """That of :func:`plain_counts`, at the resolution and with the cutoff asked for."""
    counts = plain_counts(events, histogram.height, histogram.width, histogram.bins)
    counts = halved(counts, histogram)
    return np.minimum(counts, 255 if histogram.cutoff is None else min(histogram.cutoff, 255))


def plain_voxels(events, grid):
    """The formula, one event at a time: float64, before cutoff and rounding."""
    values = np.zeros((grid.bins, grid.height, grid.width))
    first, last = (int(events.t[0]), int(events.t[-1])) if len(events) else (0, 0)
    for x, y, p, t in zip(events.x, events.y, events.p, events.t.tolist(), strict=True):
        place = (grid.bins - 1) * (t - first) / max(last - first, 1)
        for bin_ in range(grid.bins):
            values[bin_, y, x] += (1 if p else -1) * max(0.0, 1 - abs(place - bin_))
    return halved(values, grid)


def halved(values, representation):
    """Full resolution to that of a representation."""
    _, h, w = representation.shape
    if representation.downsample == "nearest":
        return values[:, 1::2, 1::2]
    if representation.downsample == "sum":
        return values[:, : 2 * h, : 2 * w].reshape(len(values), h, 2, w, 2).sum((2, 4))
    return values


@st.composite
def hostile_windows(draw, kind=StackedHistogram):
    """One, and sorted events on its sensor: some cells or all, clocks that stand or leap."""
    sizes = st.integers(1, 9) | st.sampled_from([64, 257])
    height, width, bins = draw(sizes), draw(sizes), draw(st.sampled_from([1, 2, 10, 13]))
    cutoff = draw(st.sampled_from([None, 1, 3, 10, 255, 300]))
    downsample = draw(st.sampled_from(["none", "nearest", "sum"]))
    # More than the block of the C++ file (4096 events) now and then.
    count = draw(st.integers(0, 40) | st.sampled_from([300, 4096, 4097, 9000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    first = draw(st.sampled_from([0, 50_000, 2**31 - 1, 2**40, 2**62]))
    spread = draw(st.sampled_from([0, 1, 9, 50_000, 2**33]))
    columns, rows = (min(draw(st.sampled_from([1, 2, 999])), size) for size in (width, height))
    x, y = width - 1 - rng.integers(0, columns, count), height - 1 - rng.integers(0, rows, count)
    polarity = rng.choice(draw(st.sampled_from([[0], [1], [0, 1], [0, 2, 255]])), count)
    times = first + np.sort(rng.integers(0, spread + 1, count))
    events = Events(x.astype(np.uint16), y.astype(np.uint16), polarity.astype(np.uint8), times)
    return kind(height, width, bins, cutoff, downsample), events


@given(window=hostile_windows())
@settings(max_examples=150, deadline=None)
def test_compiled_and_plain_counting_equal_one_event_at_a_time(window):
    histogram, events = window
    wanted, borders = plain_histogram(events, histogram), bin_borders(events.t, histogram.bins)
    for sort_below in (0.0, 2.0):  # always counting, always sorting
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(representations, "_SORT_BELOW", sort_below)
            assert np.array_equal(histogram.plain(events, borders), wanted)
    assert histogram.shape == wanted.shape and np.array_equal(histogram(events), wanted)
    if KERNEL.available():
        assert np.array_equal(histogram._compiled(events, borders), wanted)


@given(window=hostile_windows(), every_other=st.booleans())
@settings(max_examples=20, deadline=None)
def test_compiled_counting_takes_any_view_and_type(window, every_other):
    histogram, events = window
    if every_other:
        events = events[::2]
    foreign = Events(events.x.astype(">u2"), events.y.astype("i8"), events.p != 0, events.t)
    borders = bin_borders(events.t, histogram.bins)
    wanted = histogram.plain(events, borders)
    assert np.array_equal(histogram(foreign), wanted)
    if KERNEL.available():
        assert np.array_equal(histogram._compiled(foreign, borders), wanted)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("downsample", "key"), [("none", "out"), ("nearest", "out_ds2_nearest")])
def test_equals_the_published_histogram(case, downsample, key):
    found, published = histogram_of(case, downsample), ARRAYS[f"{case['name']}/{key}"]
    assert found.dtype == np.uint8 and found.shape == published.shape
    differs = found != published
    if case["name"] not in WRAPS:
        assert not differs.any()
        return
    # Where the published counter wrapped around, ours stands at the limit.
    events = golden_events(ARRAYS, f"{case['name']}/")
    counts = plain_counts(events, case["height"], case["width"], case["bins"])
    counts = counts[:, 1::2, 1::2] if downsample == "nearest" else counts
    assert differs.any() and (counts[differs] > 255).all()
    assert (found[differs] == (case["count_cutoff"] or 255)).all()


@pytest.mark.parametrize("cutoff", [None, 1, 10, 255, 1000])
@pytest.mark.parametrize("repeats", [255, 256, 257, 70_000])
def test_counts_stand_still_at_the_cutoff(cutoff, repeats):
    same = one_event(3, 5, 7, 1)
    events = Events(*(np.repeat(getattr(same, name), repeats) for name in "xypt"))
    found = StackedHistogram(8, 8, cutoff=cutoff)(events)
    assert found[10, 5, 3] == min(repeats, 255 if cutoff is None else cutoff, 255)
    assert np.count_nonzero(found) == 1


def test_events_outside_the_sensor_are_dropped_and_counted():
    events = make_events(400)
    stray = [(WIDTH, 0), (0, HEIGHT), (65_535, 2), (3, 33_014), (65_535, 65_535)]
    foreign = join(*(one_event(x, y, 0) for x, y in stray))
    found, dropped = inside_sensor(join(foreign, events, foreign), WIDTH, HEIGHT)
    assert dropped == 2 * len(stray) and len(found) == len(events)
    histogram = StackedHistogram(HEIGHT, WIDTH)
    assert np.array_equal(histogram(join(foreign, events)), histogram(events))
    assert inside_sensor(events, WIDTH, HEIGHT) == (events, 0)


@pytest.mark.parametrize("duration", [1, 2, 9, 10, 11, 999, 49_999, 50_000, 60_000])
@pytest.mark.parametrize("bins", [1, 3, 10])
def test_bins_equal_the_published_float_expression(duration, bins):
    times = np.arange(duration + 1, dtype=np.int64)
    scaled = (times / np.float32(max(duration, 1))).astype(np.float32) * np.float32(bins)
    published = np.minimum(np.floor(scaled), bins - 1).astype(int)
    borders = bin_borders(times + 10**12, bins)
    found = np.repeat(np.arange(bins), np.diff(borders))
    assert np.array_equal(found, published)


@pytest.mark.parametrize("kind", REPRESENTATIONS.values())
def test_unsorted_events_and_unknown_ways_are_refused(kind):
    events = make_events(10)
    with pytest.raises(EventDataError, match="not sorted by time"):
        kind(HEIGHT, WIDTH)(events[::-1])
    with pytest.raises(EventDataError, match="'mean'; expected one of nearest, sum, none"):
        kind(HEIGHT, WIDTH, downsample="mean")


@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.parametrize("downsample", ["none", "nearest", "sum"])
def test_shape_and_type_are_those_announced(name, downsample):
    representation = get_representation(name)(HEIGHT, WIDTH, downsample=downsample)
    for events in (Events.empty(), one_event(1, 1, 5), make_events(300)):
        found = representation(events)
        assert found.shape == representation.shape and found.dtype == DTYPES[name]
        assert found.flags.c_contiguous and bool(found.any()) == bool(len(events))


def test_an_unknown_representation_is_refused():
    with pytest.raises(EventDataError, match="'timesurface'; expected one of histogram, voxel"):
        get_representation("timesurface")


# Voxel grids -------------------------------------------------------------------------------------


def limited(values, grid):
    limit = min(grid.cutoff or np.inf, 65_504)
    return values.clip(-limit, limit)


def rounding(values):
    """By how much float16 may be off: half of its step."""
    return np.abs(values) / 2048 + 2.0**-25 + 1e-9


@given(window=hostile_windows(VoxelGrid))
@settings(max_examples=60, deadline=None)
def test_voxels_equal_the_formula_up_to_rounding(window):
    grid, events = window
    wanted, found = limited(plain_voxels(events, grid), grid), grid(events)
    assert found.dtype == np.float16 and found.shape == wanted.shape == grid.shape
    assert (np.abs(found - wanted) <= rounding(wanted)).all()


@given(window=hostile_windows(VoxelGrid))
@settings(max_examples=40, deadline=None)
def test_voxels_keep_the_sum_of_polarities_and_know_no_clock(window):
    grid, events = window
    grid = VoxelGrid(grid.height, grid.width, grid.bins, None, grid.downsample)
    values, signs = grid(events), np.zeros((1, grid.height, grid.width))
    np.add.at(signs[0], (events.y, events.x), np.where(events.p, 1, -1))
    off = rounding(values.astype(float)).sum(0)
    assert (np.abs(values.sum(0, dtype=np.float64) - halved(signs, grid)[0]) <= off).all()
    later = Events(events.x, events.y, events.p, events.t + 7)
    opposite = Events(events.x, events.y, (events.p == 0).astype(np.uint8), events.t)
    assert np.array_equal(grid(later), values) and np.array_equal(grid(opposite), -values)


def test_an_event_is_shared_by_the_bins_beside_it():
    times = [0, 25, 30, 90]  # of 4 bins at 0, 30, 60 and 90 us
    events = join(*(one_event(k, 0, t, p=k != 1) for k, t in enumerate(times)))
    found = VoxelGrid(1, 4, bins=4)(events)[:, 0]
    wanted = [[1, -1 / 6, 0, 0], [0, -5 / 6, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert np.array_equal(found, np.float16(wanted))


@pytest.mark.parametrize("cutoff", [None, 1, 10, 1000])
@pytest.mark.parametrize("repeats", [1, 10, 70_000])
@pytest.mark.parametrize("polarity", [0, 1])
def test_voxels_of_one_time_are_in_the_first_bin_and_stand_still_at_the_cutoff(
    cutoff, repeats, polarity
):
    same = one_event(3, 5, 7, polarity)
    events = Events(*(np.repeat(getattr(same, name), repeats) for name in "xypt"))
    found = VoxelGrid(8, 8, cutoff=cutoff)(events)
    largest = min(repeats, cutoff or 65_504, 65_504)
    assert found[0, 5, 3] == (largest if polarity else -largest)
    assert np.count_nonzero(found) == 1


def test_opposite_events_of_one_time_leave_nothing():
    pair = join(one_event(2, 2, 40, 1), one_event(2, 2, 40, 0))
    around = join(one_event(0, 0, 0, 1), pair, one_event(5, 5, 97, 1))
    found = VoxelGrid(8, 8)(around)
    assert not found[:, 2, 2].any() and np.count_nonzero(found) == 2
