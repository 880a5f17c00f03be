"""Events from Prophesee's ``.dat``.

Text lines that begin with ``%``; two bytes, event type and event size (8); then per event two
little-endian u32: time stamp in microseconds, and x in bits 0-13, y in 14-27, polarity in 28-31.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.events import CHUNK_EVENTS, EventReader, Events
from eventcam.io.readers.h5 import DEFAULT_HEIGHT, DEFAULT_WIDTH, as_polarity

LOG = logging.getLogger(__name__)
EVENT_BYTES = 8
_LONGEST_LINE = 4096  # bytes; a longer "header line" is binary data
_COORDINATE_BITS = 0x3FFF
_WRAP = 1 << 32  # the u32 clock starts again after 71.6 minutes
_SAMPLE_EVERY = 1 << 16  # events between two looks at the clock; far less than half a wrap


class DatReader(EventReader):
    """Recording in ``.dat``.

    The 32-bit clock is continued when it starts again (``clock_restarts`` in ``counts``). Bytes
    after the last whole event are counted (``trailing_bytes``).
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.counts: Counter[str] = Counter()
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise EventDataError(f"{path} cannot be opened ({error.strerror}).") from error
        try:
            self.width, self.height = _read_header(self._file, self.path)
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
        times = _Clock().unwrap(samples)
        return int(times[0]), int(times[-1])

    def chunks(self, max_events: int = CHUNK_EVENTS) -> Iterator[Events]:
        """Blocks of at most ``max_events`` events, in file order."""
        self.counts = Counter(trailing_bytes=self._bytes % EVENT_BYTES)
        clock, total = _Clock(), self.num_events()
        for start in range(0, total, max_events):
            self._file.seek(self._start + start * EVENT_BYTES)
            count = min(max_events, total - start)
            words = np.fromfile(self._file, "<u4", 2 * count).reshape(-1, 2)
            times = clock.unwrap(words[:, 0].astype(np.int64))
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


class _Clock:
    """Continues a 32-bit clock: a jump back by more than half its range is a restart.

    A jump forward by more than half is the way back over one (events slightly out of order around
    a restart), or a garbage time stamp, which thereby becomes negative and is dropped later.
    """

    def __init__(self) -> None:
        self.restarts = 0
        self._turns = 0
        self._last: int | None = None

    def unwrap(self, raw: np.ndarray) -> np.ndarray:
        """Times without restarts; ``raw`` (N,) int64 in [0, 2^32), the next ones of the file."""
        steps = np.diff(raw, prepend=raw[:1] if self._last is None else self._last)
        if len(raw):
            self._last = int(raw[-1])
        if not np.any(np.abs(steps) > _WRAP // 2):
            return raw + self._turns * _WRAP if self._turns else raw
        turns = self._turns + np.cumsum((steps < -_WRAP // 2).astype(np.int64))
        turns -= np.cumsum((steps > _WRAP // 2).astype(np.int64))
        self._turns = int(turns[-1])
        self.restarts = max(self.restarts, int(turns.max()))
        return raw + turns * _WRAP


def _read_header(file: BinaryIO, path: Path) -> tuple[int, int]:
    """Sensor width and height; leaves the file at the first event."""
    lines: list[str] = []
    while file.peek(1)[:1] == b"%":  # type: ignore[attr-defined]  # buffered, as opened above
        line = file.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            break
        lines.append(line.decode("latin-1"))
    kind_and_size = file.read(2)
    if not lines or len(kind_and_size) < 2 or kind_and_size[1] != EVENT_BYTES:
        raise EventDataError(
            f"{path} is no Prophesee .dat recording: expected are lines that begin with '%', then "
            f"the event type and the event size {EVENT_BYTES}; found were {len(lines)} such lines "
            f"and the bytes {kind_and_size.hex() or 'none'}. Copy or download it again."
        )
    text = "".join(lines)
    return _size(text, "width", DEFAULT_WIDTH, path), _size(text, "height", DEFAULT_HEIGHT, path)


def _size(header: str, name: str, default: int, path: Path) -> int:
    found = re.search(rf"^%\s*{name}\s+(\d+)\s*$", header, re.IGNORECASE | re.MULTILINE)
    size = int(found.group(1)) if found else 0
    if 0 < size <= _COORDINATE_BITS + 1:
        return size
    LOG.warning("%s: no usable sensor %s in the header, %d px assumed", path, name, default)
    return default
