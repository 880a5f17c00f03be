"""Events of a window to what a detector sees: stacked histograms and voxel grids.

Histograms: Gehrig and Scaramuzza, "Recurrent Vision Transformers for Object Detection with Event
Cameras", CVPR 2023, section 3.1. Voxel grids: Zhu et al., "Unsupervised Event-based Learning of
Optical Flow, Depth, and Egomotion", CVPR 2019, arXiv 1812.08156, section 3.1.
Legend: N events, H x W sensor, h x w output, B time bins.

Half resolution "nearest" keeps the odd rows and columns of the full resolution, as published with
RVT, and so throws away three quarters of the events; "sum" adds 2 x 2 px before the cutoff.
Values never wrap around: they stay at the cutoff.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.events import Events
from nativecode import CheckedKernel

Downsample = Literal["nearest", "sum", "none"]
RepresentationName = Literal["histogram", "voxel"]
MAX_COUNT = np.iinfo(np.uint8).max
MAX_VOXEL = float(np.finfo(np.float16).max)
# Sorting n flat indices beats counting into all cells (8 bytes each) up to about this share of
# cells with an event; measured at 4.6 and 18.4 million cells.
_SORT_BELOW = 0.25


@dataclass(frozen=True)
class Representation(ABC):
    """The events of a window by time bin and place.

    Attributes:
        height: of the sensor, px.
        width: of the sensor, px.
        bins: time bins; they divide the time from the first to the last event of the window (not
            the window).
        cutoff: largest value, of either sign; None is the largest that can be stored.
        downsample: "nearest" or "sum" for half resolution, or "none".
    """

    channels_per_bin: ClassVar[int]

    height: int
    width: int
    bins: int = 10
    cutoff: int | None = 10
    downsample: Downsample = "none"

    def __post_init__(self) -> None:
        if self.downsample not in get_args(Downsample):
            raise EventDataError(
                f"Unknown way to downsample {self.downsample!r}; expected one of "
                f"{', '.join(get_args(Downsample))}."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of the result."""
        factor = self.factor
        channels = self.channels_per_bin * self.bins
        return channels, self.height // factor, self.width // factor

    @property
    def factor(self) -> int:
        """Sensor px per px of the result, along one side."""
        return 1 if self.downsample == "none" else 2

    def __call__(self, events: Events) -> np.ndarray:
        """The representation of one window.

        Args:
            events: sorted by time; those outside the sensor are left out
                (:func:`inside_sensor` counts them).

        Returns:
            Of the shape and type that the kind of representation has.

        Raises:
            EventDataError: the events are not sorted by time.
        """
        events, _ = inside_sensor(events, self.width, self.height)
        if np.any(events.t[1:] < events.t[:-1]):
            raise EventDataError(
                "The events of a window are not sorted by time; sort them, or pass the recording "
                "through eventcam.windows.clean_chunks."
            )
        return self.count(events)

    @abstractmethod
    def count(self, events: Events) -> np.ndarray:
        """As a call, for events that are known to be on the sensor and sorted by time."""

    def _pixels(self, events: Events) -> tuple[np.ndarray, np.ndarray | None]:
        """Flat pixel of the result (int32) of each event, and which events have one; None: all."""
        _, h, w = self.shape
        half = self.factor // 2  # shift that halves a coordinate, or 0
        pixels = np.multiply(events.y >> half, w, dtype=np.int32)
        pixels += events.x >> half
        if self.downsample == "nearest":
            return pixels, (events.x & events.y & 1).astype(bool)
        if self.downsample == "sum" and (self.width % 2 or self.height % 2):
            # An odd last row or column has no partner and no place in the result.
            return pixels, (events.x < 2 * w) & (events.y < 2 * h)
        return pixels, None


class StackedHistogram(Representation):
    """Counts of events by polarity, time bin and place, (2 B, h, w) uint8.

    The channel is ``polarity * bins + bin``: first the bins of the darker events, oldest first.
    """

    channels_per_bin = 2

    def count(self, events: Events) -> np.ndarray:
        """As :meth:`Representation.count`."""
        borders = bin_borders(events.t, self.bins)
        return (self._compiled if KERNEL.available() else self.plain)(events, borders)

    def plain(self, events: Events, borders: np.ndarray) -> np.ndarray:
        """The histogram, without compiled code.

        Args:
            events: sorted by time, on the sensor.
            borders: positions at which their time bins begin and end.
        """
        cells = self._cells(events, borders)
        return _count(cells, int(np.prod(self.shape)), self._limit).reshape(self.shape)

    def _compiled(self, events: Events, borders: np.ndarray) -> np.ndarray:
        kinds = (np.uint16, np.uint16, np.uint8, np.int64)
        given = (events.x, events.y, events.p, borders)
        arrays = [np.ascontiguousarray(a, k) for a, k in zip(given, kinds, strict=True)]
        out = np.zeros(self.shape, np.uint8)
        halved = (self.factor == 2, self.downsample == "nearest")
        pointers = [array.ctypes.data for array in (*arrays, out)]
        KERNEL.call("count_events", *self.shape[1:], self.bins, self._limit, *halved, *pointers)
        return out

    @property
    def _limit(self) -> int:
        return MAX_COUNT if self.cutoff is None else min(self.cutoff, MAX_COUNT)

    def _cells(self, events: Events, borders: np.ndarray) -> np.ndarray:
        """Flat index into the result of each event that counts; int32."""
        _, h, w = self.shape
        cells, chosen = self._pixels(events)
        cells += np.multiply(events.p != 0, self.bins * h * w, dtype=np.int32)
        for bin_, (start, stop) in enumerate(itertools.pairwise(borders)):
            cells[start:stop] += bin_ * h * w
        return cells if chosen is None else cells.compress(chosen)


class VoxelGrid(Representation):
    """Polarities (+1 brighter, -1 darker) by time bin and place, (B, h, w) float16.

    An event at t adds its polarity times max(0, 1 - |t* - bin|), t* = (B - 1) (t - t_first) /
    (t_last - t_first), to the bins beside t*: the sum over the bins is that of the polarities. Of a
    window of one time, all are in the first bin.

    Sums are float64. Storing them changes a value by at most 1/2048 of itself, 0.004 below the
    cutoff of 10; whole numbers (to 2048) stay what they are, and 0 is where nothing has happened or
    polarities cancel.
    """

    channels_per_bin = 1

    def count(self, events: Events) -> np.ndarray:
        """As :meth:`Representation.count`."""
        limit = MAX_VOXEL if self.cutoff is None else min(self.cutoff, MAX_VOXEL)
        return self._sums(events).clip(-limit, limit).astype(np.float16).reshape(self.shape)

    def _sums(self, events: Events) -> np.ndarray:
        """The values of all cells before the cutoff, flat."""
        times = events.t - events.t[:1]  # us since the first event
        places = times * (self.bins - 1.0) / times.max(initial=1)  # t*
        pixels, chosen = self._pixels(events)
        signs = np.where(events.p, 1.0, -1.0)
        if chosen is not None:
            places, pixels, signs = (x.compress(chosen) for x in (places, pixels, signs))
        _, h, w = self.shape
        bins = places.astype(np.int64)
        later = signs * (places - bins)
        cells = bins * (h * w) + pixels
        sums = np.zeros((self.bins + 1) * h * w)  # t* of the last event has nothing behind it
        np.add.at(sums, cells, signs - later)
        np.add.at(sums, cells + h * w, later)
        return sums[: self.bins * h * w]


REPRESENTATIONS: dict[str, type[Representation]] = {
    "histogram": StackedHistogram,
    "voxel": VoxelGrid,
}


def get_representation(name: str) -> type[Representation]:
    """The kind of representation of that name.

    Raises:
        EventDataError: there is none.
    """
    if name not in REPRESENTATIONS:
        known = ", ".join(REPRESENTATIONS)
        raise EventDataError(f"Unknown representation {name!r}; expected one of {known}.")
    return REPRESENTATIONS[name]


def inside_sensor(events: Events, width: int, height: int) -> tuple[Events, int]:
    """The events on the sensor, and how many were not."""
    if len(events) == 0 or (events.x.max() < width and events.y.max() < height):
        return events, 0
    inside = (events.x < width) & (events.y < height)
    return events[inside], len(events) - int(np.count_nonzero(inside))


def bin_borders(times: np.ndarray, bins: int) -> np.ndarray:
    """Positions (bins + 1,) at which the time bins of sorted times (N,) begin and end.

    Event i is in bin ``min((t_i - t_0) * bins // max(t_last - t_0, 1), bins - 1)``. That equals the
    published float32 expression for every duration up to 60 ms and 10 bins.
    """
    if len(times) == 0:
        return np.zeros(bins + 1, np.int64)
    duration = max(int(times[-1] - times[0]), 1)
    # Bin b begins at the smallest offset d with d * bins // duration >= b, rounded up.
    starts = int(times[0]) - (-np.arange(1, bins) * duration // bins)
    return np.concatenate(([0], np.searchsorted(times, starts), [len(times)]))


def _agrees() -> bool:
    rng = np.random.default_rng(0)
    x, y, p = (rng.integers(0, most, 3000) for most in (13, 9, 2))
    columns = (x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8))
    events = Events(*columns, np.sort(rng.integers(0, 900, 3000)))
    borders = bin_borders(events.t, 3)
    histograms = [StackedHistogram(9, 13, 3, 5, kind) for kind in get_args(Downsample)]
    return all(
        np.array_equal(h._compiled(events, borders), h.plain(events, borders)) for h in histograms
    )


KERNEL = CheckedKernel(
    "compiled histogram", _agrees, Path(__file__).with_name("csrc") / "stacked_histogram.cpp"
)


def _count(cells: np.ndarray, size: int, limit: int) -> np.ndarray:
    """How often each of ``size`` cells occurs, at most ``limit``; uint8. May sort ``cells``."""
    if len(cells) > _SORT_BELOW * size:
        return np.minimum(np.bincount(cells, minlength=size), limit).astype(np.uint8)
    counts = np.zeros(size, np.uint8)
    if len(cells):
        cells.sort()
        begins = np.ones(len(cells) + 1, bool)  # of a run of equal cells; the last one ends all
        np.not_equal(cells[1:], cells[:-1], out=begins[1:-1])
        starts = np.flatnonzero(begins)
        counts[cells[starts[:-1]]] = np.minimum(np.diff(starts), limit)
    return counts
