"""Events from Prophesee's ``.dat``.

Text lines that begin with ``%``; two bytes, event type and event size (8); then per event two
little-endian u32: time stamp in microseconds, and x in bits 0-13, y in 14-27, polarity in 28-31.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.events import CHUNK_EVENTS, EventReader, Events
from eventcam.io.readers.clock import Clock
from eventcam.io.readers.h5 import DEFAULT_HEIGHT, DEFAULT_WIDTH, as_polarity
from eventcam.io.readers.header import open_binary, read_header, sensor_size

EVENT_BYTES = 8
_COORDINATE_BITS = 0x3FFF
_WRAP = 1 << 32  # the u32 clock starts again after 71.6 minutes
_SAMPLE_EVERY = 1 << 16  # events between two looks at the clock; far less than half a wrap


class DatReader(EventReader):
    """Recording in ``.dat``.

    The 32-bit clock is continued when it starts again (``clock_restarts`` in ``counts``). Bytes
    after the last whole event are counted (``trailing_bytes``).
    """

    def __init__(
        self, path: Path, sensor: tuple[int, int] = (DEFAULT_WIDTH, DEFAULT_HEIGHT)
    ) -> None:
        self.path = Path(path)
        self.counts: Counter[str] = Counter()
        self._file = open_binary(self.path)
        try:
            header = read_header(self._file, b"%")
            _check_kind(self._file, header, self.path)
            self.width, self.height = sensor_size(header, _COORDINATE_BITS + 1, self.path, sensor)
            self._start = self._file.tell()
            self._bytes = self.path.stat().st_size - self._start
        except BaseException:
            self.close()
            raise

    def num_events(self) -> int:
        return self._bytes // EVENT_BYTES

    def time_range_us(self) -> tuple[int, int]:
        if self.num_events() == 0:
            return 0, 0
        # The clock is followed by samples, so that restarts are seen without reading every event.
        events = np.memmap(self.path, "<u4", "r", self._start, (self.num_events(), 2))
        samples = np.append(events[::_SAMPLE_EVERY, 0], events[-1, 0]).astype(np.int64)
        times = Clock(-1).unwrap(samples, _WRAP)
        return int(times[0]), int(times[-1])

    def chunks(self, max_events: int = CHUNK_EVENTS) -> Iterator[Events]:
        """Blocks of at most ``max_events`` events, in file order."""
        self.counts = Counter(trailing_bytes=self._bytes % EVENT_BYTES)
        clock, total = Clock(-1), self.num_events()
        for start in range(0, total, max_events):
            self._file.seek(self._start + start * EVENT_BYTES)
            count = min(max_events, total - start)
            words = np.fromfile(self._file, "<u4", 2 * count).reshape(-1, 2)
            times = clock.unwrap(words[:, 0].astype(np.int64), _WRAP)
            self.counts["clock_restarts"] = clock.restarts
            yield self._events(times, words[:, 1])

    def _events(self, times: np.ndarray, data: np.ndarray) -> Events:
        polarity, odd = as_polarity((data >> 28).astype(np.uint8))
        if odd:
            self.counts["events_odd_polarity"] += odd
        x = (data & _COORDINATE_BITS).astype(np.uint16)
        y = (data >> 14 & _COORDINATE_BITS).astype(np.uint16)
        return Events(x, y, polarity, times)

    def close(self) -> None:
        self._file.close()


def _check_kind(file: BinaryIO, header: Mapping[str, str], path: Path) -> None:
    """Read event type and size, behind which the events begin."""
    kind_and_size = file.read(2)
    if {"evt", "format"} & header.keys():
        raise EventDataError(
            f"{path} is no Prophesee .dat recording: its header is that of a .raw one. Give its "
            f"name the ending .raw."
        )
    if not header or len(kind_and_size) < 2 or kind_and_size[1] != EVENT_BYTES:
        raise EventDataError(
            f"{path} is no Prophesee .dat recording: expected are lines that begin with '%', then "
            f"the event type and the event size {EVENT_BYTES}; found were {len(header)} such lines "
            f"and the bytes {kind_and_size.hex() or 'none'}. Copy or download it again."
        )
