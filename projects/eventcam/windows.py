"""A stream of events cut into time windows, whatever the size of its blocks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from eventcam.io.events import Events
from eventcam.representations import inside_sensor

WINDOW_US = 50_000
# Events kept of one window. The sensor sends about 50 million in 50 ms at the very most; a file
# whose clock stands still has all of its events in one window, and must not fill the memory.
MAX_WINDOW_EVENTS = 50_000_000


def clean_chunks(
    chunks: Iterable[Events], width: int, height: int, counts: Counter[str]
) -> Iterator[Events]:
    """Blocks on the sensor and in time order; what had to change is added to ``counts``.

    Events outside the sensor or with a negative time are dropped. A time that is earlier than one
    before it is raised to that one, as published.
    """
    latest = 0
    for chunk in chunks:
        counts["events_read"] += len(chunk)
        events, outside = inside_sensor(chunk, width, height)
        counts["events_outside_sensor"] += outside
        if len(events) and not _ascend(events.t, latest):
            events = _repaired(events, latest, counts)
        if len(events):
            latest = int(events.t[-1])
            yield events


def _ascend(times: np.ndarray, latest: int) -> bool:
    return times[0] >= latest and not np.any(times[1:] < times[:-1])


def _repaired(events: Events, latest: int, counts: Counter[str]) -> Events:
    """Without negative times; the others become their running maximum from ``latest`` on."""
    negative = events.t < 0
    events = events[~negative]
    times = np.maximum(np.maximum.accumulate(events.t), latest)
    counts["events_negative_time"] += int(np.count_nonzero(negative))
    counts["events_time_raised"] += int(np.count_nonzero(times != events.t))
    return Events(events.x, events.y, events.p, times)


@dataclass
class Windows:
    """Cuts a clean stream into windows that end at given times.

    Attributes:
        chunks: blocks in time order (:func:`clean_chunks`).
        closed: both ends belong to a window, so that an event on the border of two is counted in
            both (as published); else a window is ``(end - duration, end]``.
        duration_us: length of a window.
        max_events: events kept of one window, the first ones.
        left_out: events beyond that, so far.
        last_us: time of the last event read, -1 before the first.
        exhausted: whether all events were read.
    """

    chunks: Iterator[Events]
    closed: bool = False
    duration_us: int = WINDOW_US
    max_events: int = MAX_WINDOW_EVENTS
    left_out: int = 0
    last_us: int = -1
    exhausted: bool = False
    _pending: list[Events] = field(default_factory=list)

    def cut(self, ends_us: Iterable[int]) -> Iterator[Events]:
        """The events of each window; the ends must ascend."""
        for end in ends_us:
            self._forget_before(end - self.duration_us)
            self._read_past(end)
            yield self._up_to(end)

    def _forget_before(self, start: int) -> None:
        later = (self._after(part, start) for part in self._pending)
        self._pending = [part for part in later if len(part)]

    def _after(self, part: Events, start: int) -> Events:
        side = "left" if self.closed else "right"
        return part[int(np.searchsorted(part.t, start, side=side)) :]

    def _read_past(self, end: int) -> None:
        while not self.exhausted and self.last_us <= end:
            chunk = next(self.chunks, None)
            if chunk is None:
                self.exhausted = True
                return
            self.last_us = int(chunk.t[-1])
            chunk = self._after(chunk, end - self.duration_us)
            if len(chunk):
                self._pending.append(self._within_capacity(chunk, end))

    def _within_capacity(self, chunk: Events, end: int) -> Events:
        """``chunk`` without those events of the window that are too many."""
        inside = int(np.searchsorted(chunk.t, end, side="right"))
        room = self.max_events - sum(map(len, self._pending))
        if inside <= room:
            return chunk
        self.left_out += inside - room
        return Events.concatenate([chunk[:room], chunk[inside:]])

    def _up_to(self, end: int) -> Events:
        parts = [p[: int(np.searchsorted(p.t, end, side="right"))] for p in self._pending]
        return Events.concatenate(parts)


class LiveWindows:
    """Cuts events into windows as they come.

    Windows are those of :func:`window_ends`, from the first event on.
    """

    def __init__(self, duration_us: int = WINDOW_US) -> None:
        self._duration = duration_us
        self._blocks: deque[Events] = deque()
        # Asked only for blocks that are there: a window is cut when a later event has come.
        waiting = (self._blocks.popleft() for _ in count())
        self._windows = Windows(waiting, duration_us=duration_us)
        self._end: int | None = None

    def push(self, events: Events) -> Iterator[tuple[int, Events]]:
        """Take the next events (in order of time); yield end and events of each complete window."""
        if len(events) == 0:
            return
        first, last = int(events.t[0]), int(events.t[-1])
        if self._end is None:
            self._end = window_ends(first, last, self._duration).start
        self._blocks.append(events)
        ends = range(self._end, last, self._duration)
        for end, window in zip(ends, self._windows.cut(ends), strict=True):
            self._end = end + self._duration
            yield end, window


def window_ends(first_us: int, last_us: int, duration_us: int = WINDOW_US) -> range:
    """Ends of the windows that hold the events from ``first_us`` to ``last_us``.

    They are whole multiples of their length; a window does not contain its beginning.
    """
    start = -(-first_us // duration_us) * duration_us
    return range(start, max(last_us, start) + duration_us, duration_us)
