"""The compiled way to count events, ``csrc/stacked_histogram.cpp``, called through ctypes."""

from __future__ import annotations

from ctypes import CDLL, Structure, byref, c_int64, c_void_p
from pathlib import Path

import numpy as np

from eventcam.io.events import Events

SOURCE = Path(__file__).with_name("csrc") / "stacked_histogram.cpp"


class _Histogram(Structure):
    """As in the C++ file."""

    _fields_ = (
        *((name, c_int64) for name in ("height", "width", "bins", "limit", "half", "odd")),
        *((name, c_void_p) for name in ("x", "y", "p", "borders", "out")),
    )


def count_events(
    library: CDLL,
    events: Events,
    borders: np.ndarray,
    out: np.ndarray,
    limit: int,
    half: bool,
    odd: bool,
) -> None:
    """Count events into ``out``.

    Args:
        library: compiled from ``SOURCE``.
        events: all on the sensor.
        borders: (bins + 1,) position of the first event of each time bin, and their number.
        out: (2 * bins, h, w) uint8, zeros; receives the counts.
        limit: largest count.
        half: the result has half the resolution of the sensor.
        odd: only events whose column and row are odd have a cell.
    """
    kinds = (np.uint16, np.uint16, np.uint8, np.int64)
    given = (events.x, events.y, events.p, borders)
    arrays = [np.ascontiguousarray(a, k) for a, k in zip(given, kinds, strict=True)]
    channels, height, width = out.shape
    pointers = [array.ctypes.data for array in (*arrays, out)]
    call = _Histogram(height, width, channels // 2, limit, half, odd, *pointers)
    library.count_events(byref(call))
