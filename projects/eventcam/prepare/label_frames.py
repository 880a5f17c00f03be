"""Which label times become labelled frames, when representations end, and when nothing was there.

All times are microseconds from the start of the recording. Labels are drawn at a regular rate
(30 Hz in eTraM); representations end every 50 ms; a labelled frame is a representation that ends
exactly at a label time, about every 100 ms.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from eventcam.errors import EventDataError

STEP_US = 50_000
STEPS_BETWEEN_FRAMES = 2  # at least; as published, where frames are 100 ms apart
FIRST_FRAME_US = 100_000
_STRETCH = 0.1  # a step may be this much shorter or longer so that it ends at a label
_PUBLISHED_TOLERANCE_US = 2_000
_SAME_TIME_US = 1_000  # label times closer than this say nothing about the label rate


@dataclass(frozen=True)
class Schedule:
    """Times of one recording.

    Attributes:
        frames_us: (F,) int64, times of the labelled frames.
        ends_us: (N,) int64, sorted; end of each representation's window.
        frame_steps: (F,) int64, position of each frame in ``ends_us``.
    """

    frames_us: np.ndarray
    ends_us: np.ndarray
    frame_steps: np.ndarray


def schedule(
    label_times_us: np.ndarray, published: bool = False, base_us: float | None = None
) -> Schedule:
    """Frames and representation times from the times of the kept boxes.

    From one frame to the next the representations are evenly spaced, so that both are hit exactly.
    The next frame is the nearest label to a whole number of 50 ms steps (two or more) for which
    the steps need not be stretched by more than a tenth; no rate has to be known, and after any
    gap labels are found again within 250 ms.

    Args:
        label_times_us: times of the kept boxes, in any order, repetitions allowed.
        published: use the published choice of frames instead (:func:`published_frames`).
        base_us: its base period, if it is not to be derived.

    Raises:
        EventDataError: no label is at or after 100 ms.
    """
    times = np.unique(label_times_us)
    times = times[times >= FIRST_FRAME_US]
    if len(times) == 0:
        raise EventDataError(
            "no box is left at or after the first 100 ms, so there is no labelled frame (times of "
            "labels are microseconds)"
        )
    frames, steps = published_frames(times, base_us) if published else nearest_frames(times)
    return with_steps_between(frames, steps)


def nearest_frames(times_us: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames by whole 50 ms steps from the last frame; see :func:`schedule`.

    Args:
        times_us: (T,) int64, T > 0, sorted, distinct.

    Returns:
        Frame times (F,) and the number of steps between consecutive frames (F - 1,).
    """
    frames, steps = [int(times_us[0])], []
    while len(later := _next_labels(times_us, frames[-1])):
        distances = later - frames[-1]
        counts = np.maximum(np.rint(distances / STEP_US), STEPS_BETWEEN_FRAMES)
        errors = np.abs(distances - counts * STEP_US)
        fitting = np.flatnonzero(errors <= _STRETCH * STEP_US * counts)
        if len(fitting) == 0:
            break
        # Among the labels that fit the smallest number of steps, the one that fits best.
        first = fitting[counts[fitting] == counts[fitting[0]]]
        best = first[np.argmin(errors[first])]
        frames.append(int(later[best]))
        steps.append(int(counts[best]))
    return np.array(frames, np.int64), np.array(steps, np.int64)


def _next_labels(times_us: np.ndarray, last: int) -> np.ndarray:
    """Labels after ``last``, up to a step after the first one that fits for sure."""
    # From half a step before 5 steps on, the tenths of the steps add up to half a step: all fit.
    fits = np.searchsorted(times_us, last + round((0.5 / _STRETCH - 0.5) * STEP_US))
    limit = times_us[min(fits, len(times_us) - 1)] + STEP_US
    first, stop = np.searchsorted(times_us, [last, limit], side="right")
    return times_us[first:stop]


def published_frames(
    times_us: np.ndarray, base_us: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Frames as the published preparation chooses them, with its losses.

    A label is a frame if its distance to the last frame is a multiple m of the base period within
    2 ms; 2 m steps lie between. The base period is 3 (6) times the median label distance of
    30 (60) Hz labels; other rates are refused.

    Args:
        times_us: (T,) int64, T > 0, sorted, distinct.
        base_us: base period, if it is not to be derived.

    Returns:
        Frame times (F,) and the number of steps between consecutive frames (F - 1,).

    Raises:
        EventDataError: the labels are neither at 30 nor at 60 Hz.
    """
    base = _published_base(times_us) if base_us is None else base_us
    frames, steps = [int(times_us[0])], []
    for time in times_us[1:].tolist():
        distance = time - frames[-1]
        multiple = round(distance / base)
        if abs(distance - multiple * base) <= _PUBLISHED_TOLERANCE_US:
            frames.append(time)
            steps.append(multiple * STEPS_BETWEEN_FRAMES)
    return np.array(frames, np.int64), np.array(steps, np.int64)


def with_steps_between(frames_us: np.ndarray, steps: np.ndarray) -> Schedule:
    """Representation times for frames (F,) with ``steps`` (F - 1,) between consecutive ones.

    Before the first frame they go back in steps of 50 ms; as published, the earliest of those
    (whose window would begin near or before the start) is left out.
    """
    before = np.arange(frames_us[0], 0, -STEP_US)[::-1]
    parts = [before[1:-1]]
    for start, end, count in zip(frames_us[:-1], frames_us[1:], steps, strict=True):
        parts.append(np.linspace(start, end, count + 1).astype(np.int64)[:-1])
    ends = np.concatenate([*parts, frames_us[-1:]]).astype(np.int64)
    return Schedule(frames_us, ends, np.searchsorted(ends, frames_us).astype(np.int64))


def label_grid(label_times_us: np.ndarray) -> np.ndarray:
    """All times at which labels were drawn, also those at which there was nothing to draw.

    Between the first and the last label the annotators looked at every frame of a regular grid.
    Its period is found from the labels; a distance of k periods gets k - 1 times in between.

    Args:
        label_times_us: times of all boxes, before any filter, in any order.

    Returns:
        (G,) int64, sorted; contains every label time.
    """
    times = np.unique(label_times_us)
    period = _label_period(times)
    if period is None:
        return times.astype(np.int64)
    parts = []
    for start, end in itertools.pairwise(times):
        count = max(1, round(float(end - start) / period))
        parts.append(np.rint(np.linspace(start, end, count + 1)[:-1]))
    return np.concatenate([*parts, times[-1:]]).astype(np.int64)


def known_empty_steps(times: Schedule, label_times_us: np.ndarray) -> np.ndarray:
    """Representations that end when the annotators looked and saw nothing.

    They keep the rate of the labelled frames: counted from the frame before them (from the first
    frame backwards), every second representation is considered. It must end at a time of the label
    grid, give or take a tenth of a step, or between two that are no further apart than frames, and
    there must be no label, of any class or size, at these times.

    Args:
        times: of the recording.
        label_times_us: times of all boxes, before any filter.

    Returns:
        (K,) int64, sorted positions in ``times.ends_us``; none is a labelled frame.
    """
    steps = np.arange(len(times.ends_us))
    frame_before = np.searchsorted(times.frame_steps, steps, side="right") - 1
    since = steps - times.frame_steps[np.maximum(frame_before, 0)]
    candidates = steps[(since % STEPS_BETWEEN_FRAMES == 0) & (since != 0)]
    following = np.searchsorted(times.frame_steps, candidates)
    until = np.append(times.frame_steps, np.iinfo(np.int64).max)[following] - candidates
    candidates = candidates[(until >= STEPS_BETWEEN_FRAMES)]
    empty = _was_seen_empty(times.ends_us[candidates], np.unique(label_times_us))
    return candidates[empty].astype(np.int64)


def _was_seen_empty(times_us: np.ndarray, labels_us: np.ndarray) -> np.ndarray:
    """Whether the looks next to each time (N,) found nothing; ``labels_us`` sorted, distinct."""
    grid = label_grid(labels_us)
    if len(grid) < 2 or len(times_us) == 0:
        return np.zeros(len(times_us), bool)
    nothing = ~np.isin(grid, labels_us)
    after = np.searchsorted(grid, times_us).clip(1, len(grid) - 1)
    since, until = times_us - grid[after - 1], grid[after] - times_us
    tolerance = _STRETCH * STEP_US
    longest = STEPS_BETWEEN_FRAMES * STEP_US + tolerance
    at_before, at_after = np.abs(since) <= tolerance, np.abs(until) <= tolerance
    at_empty = at_before & nothing[after - 1] | at_after & nothing[after]
    at_label = at_before & ~nothing[after - 1] | at_after & ~nothing[after]
    near = (since >= 0) & (until >= 0) & (since + until <= longest)
    return (at_empty | (near & nothing[after - 1] & nothing[after])) & ~at_label


def _published_base(times_us: np.ndarray) -> float:
    if len(times_us) < 2:
        raise EventDataError("the published choice of frames needs labels at two times or more")
    median = float(np.median(np.diff(times_us)))
    rate = round(1e6 / median)
    if rate not in (30, 60):
        raise EventDataError(
            f"the kept labels are {rate} Hz apart, the published choice of frames knows 30 and 60 "
            f"only; prepare without it"
        )
    return median * rate / 10


def _label_period(times: np.ndarray) -> float | None:
    """Typical distance of neighbouring label times; None if there are no two."""
    distances = np.diff(times)
    distances = distances[distances >= _SAME_TIME_US]
    if len(distances) == 0:
        return None
    # Objects come and go, so most distances may be several periods; few are shorter than one.
    shortest = float(np.percentile(distances, 10, method="lower"))
    counts = np.rint(distances / shortest)
    near = counts <= 10  # beyond, an error of the first guess could change the count
    return float(distances[near].sum() / counts[near].sum())
