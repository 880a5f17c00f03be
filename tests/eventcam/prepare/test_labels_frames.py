"""Which labels become frames, when representations end, and which times are known to be empty."""

from __future__ import annotations

import numpy as np
import pytest
from event_toys import golden, label_times

from eventcam.class_maps import CLASS_MAPS
from eventcam.errors import EventDataError
from eventcam.labels import LabelFilter
from eventcam.prepare.label_frames import (
    STEP_US,
    Schedule,
    known_empty_steps,
    label_grid,
    nearest_frames,
    published_frames,
    schedule,
    with_steps_between,
)

ARRAYS, META = golden("preprocess")
CASES = [pytest.param(case, id=case["name"]) for case in META["cases"]]
SIZES = {"gen4": (1280, 720, 20, 60), "gen1": (304, 240, 10, 30)}


def golden_labels(case):
    """Filtered as the published preparation does."""
    width, height, side, diagonal = SIZES[case["dataset"]]
    labels = ARRAYS[f"{case['name']}/in_boxes"]
    if case["dataset"] == "gen4":
        labels, _ = CLASS_MAPS["gen4_3classes"].apply(labels)
    benchmark = case["filter"]["apply_psee_bbox_filter"]
    chosen = LabelFilter(min_side=side, min_diagonal=diagonal) if benchmark else LabelFilter()
    return chosen.apply(labels, width, height, case["split"] == "TRAIN")[0]


@pytest.mark.parametrize("case", CASES)
def test_equals_the_published_labels_and_times(case):
    labels, name = golden_labels(case), case["name"]
    times = np.unique(labels["t"][labels["t"] >= 100_000])
    base = None if case["dataset"] == "gen4" else 250_000
    found = with_steps_between(*published_frames(times, base))
    assert np.array_equal(found.frames_us, ARRAYS[f"{name}/out_frame_timestamps_us"])
    assert np.array_equal(found.ends_us, ARRAYS[f"{name}/out_ev_repr_timestamps_us"])
    assert np.array_equal(found.frame_steps, ARRAYS[f"{name}/out_objframe_idx_2_repr_idx"])
    kept = labels[np.isin(labels["t"], found.frames_us)]
    assert np.array_equal(kept, ARRAYS[f"{name}/out_labels"])
    starts = np.searchsorted(kept["t"], found.frames_us)
    assert np.array_equal(starts, ARRAYS[f"{name}/out_objframe_idx_2_label_idx"])


@pytest.mark.parametrize("rate", [30, 60])
def test_both_choices_agree_on_regular_labels(rate):
    times = label_times(rate, 5_000_000)
    ours, published = schedule(times), schedule(times, published=True)
    assert np.array_equal(ours.frames_us, published.frames_us) and len(ours.frames_us) == 50
    assert np.array_equal(ours.ends_us, published.ends_us)


@pytest.mark.parametrize("rate", [1, 4, 8, 10, 20, 24, 25, 30, 50, 60, 100, 120, 1000])
@pytest.mark.parametrize("jitter_us", [0, 1500])
def test_any_label_rate_gives_frames_about_every_100_ms(rate, jitter_us):
    rng = np.random.default_rng(0)
    times = label_times(rate, 20_000_000)
    times = np.unique(times + rng.integers(-jitter_us, jitter_us + 1, len(times)))
    found = schedule(times)
    steps = np.diff(found.ends_us[found.frame_steps[0] :])
    assert abs(steps - STEP_US).max() <= STEP_US // 10 + 1
    distances = np.diff(found.frames_us)
    assert distances.min() >= 90_000 and distances.max() <= max(255_000, 1.01e6 / rate)


@pytest.mark.parametrize("gap_us", [1_000_000, 1_016_667, 1_033_000, 5_008_000])
def test_labels_are_found_again_after_a_gap(gap_us):
    times = np.round(label_times(30, 3_000_000), -3)
    found = schedule(np.concatenate([times, times + times[-1] + gap_us]))
    assert len(found.frames_us) >= 58
    after = found.frames_us[found.frames_us > times[-1]]
    assert after[0] - (times[0] + times[-1] + gap_us) <= 250_000


def test_a_single_frame_and_none():
    found = schedule(np.array([230_000, 230_000]))
    assert found.frames_us.tolist() == [230_000] and found.frame_steps.tolist() == [3]
    assert found.ends_us.tolist() == [80_000, 130_000, 180_000, 230_000]
    assert schedule(np.array([100_000])).ends_us.tolist() == [100_000]
    with pytest.raises(EventDataError, match="first 100 ms"):
        schedule(np.array([10, 99_999]))
    for times, message in (([200_000], "two times"), ([100_000, 200_000, 300_000], "10 Hz")):
        with pytest.raises(EventDataError, match=message):
            schedule(np.array(times), published=True)


def test_many_labels_take_no_quadratic_time():
    frames, _ = nearest_frames(np.arange(100_000, 1_800_000_000, 8_333))
    assert len(frames) > 17_000


@pytest.mark.parametrize("rate", [10, 30, 60])
@pytest.mark.parametrize("jitter_us", [0, 800])
def test_the_label_grid_fills_the_gaps(rate, jitter_us):
    rng = np.random.default_rng(1)
    full = label_times(rate, 10_000_000)
    full = full + rng.integers(-jitter_us, jitter_us + 1, len(full))
    seen = np.sort(rng.permutation(full)[: len(full) // 3])
    grid = label_grid(np.repeat(seen, 2))
    wanted = full[(full >= seen[0]) & (full <= seen[-1])]
    assert len(grid) == len(wanted) and np.isin(seen, grid).all()
    assert abs(grid - wanted).max() <= 2 * jitter_us + 1


@pytest.mark.parametrize("times", [[], [5], [5, 5], [5, 6]])
def test_grids_of_next_to_nothing(times):
    assert label_grid(np.array(times, np.int64)).tolist() == sorted(set(times))


@pytest.mark.parametrize("rate", [10, 20, 30, 60])
def test_gaps_are_known_to_be_empty_at_the_rate_of_the_frames(rate):
    seen = label_times(rate, 6_000_000)
    seen = seen[(seen >= 500_000) & ((seen <= 2_000_000) | (seen > 3_000_000 + 10))]
    times = schedule(seen)
    empty = known_empty_steps(times, seen)
    ends = times.ends_us[empty]
    assert len(empty) in (9, 10)
    assert abs(ends - np.arange(2_100_000, 3_000_001, 100_000)[: len(ends)]).max() <= 20_000
    assert np.abs(seen - ends[:, None]).min() > 5_000
    assert not np.isin(empty, times.frame_steps).any()


def test_a_frame_whose_boxes_were_dropped_is_not_called_empty():
    seen = label_times(30, 4_000_000)
    kept = seen[(seen < 1_000_000) | (seen > 2_000_000)]
    assert len(known_empty_steps(schedule(kept), seen)) == 0
    # Before the first frame: labels began at 200 ms, were dropped, and nothing was there from 400.
    raw = np.concatenate([seen[(seen >= 200_000) & (seen < 400_000)], seen[seen >= 999_999]])
    times = schedule(raw[raw >= 999_999])
    ends = times.ends_us[known_empty_steps(times, raw)]
    assert ends.tolist() == [400_000, 500_000, 600_000, 700_000, 800_000, 900_000]


def test_a_time_between_an_object_and_an_empty_look_is_not_called_empty():
    seen = np.array([0, 40_000, 80_000, 400_000, 440_000])  # the looks were 40 ms apart
    ends = np.arange(0, 450_001, 50_000)
    times = Schedule(seen[:1], ends, np.array([0]))
    # 100 ms lies between an object and an empty look, 200 ms on a look, 300 ms between two.
    assert ends[known_empty_steps(times, seen)].tolist() == [200_000, 300_000]
