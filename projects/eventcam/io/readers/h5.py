"""Events from HDF5 in the layout of eTraM and of RVT's inputs.

One group ``events`` with the columns ``x``, ``y``, ``p``, ``t`` (any integer type, any filter) and
the optional scalars ``width`` and ``height``.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.arrays import damage_reported
from eventcam.io.blosc import ColumnReader
from eventcam.io.events import CHUNK_EVENTS, EventReader, Events
from eventcam.io.hdf5 import Dataset, Group, Rows, open_h5

LOG = logging.getLogger(__name__)
DEFAULT_WIDTH, DEFAULT_HEIGHT = 1280, 720  # px, eTraM's sensor; the published code's default
_AHEAD = 2  # blocks that are read while one is worked on
_Begun = tuple[int, int, Callable[[], dict[str, np.ndarray]]]
OUTSIDE = np.iinfo(np.uint16).max  # a coordinate that no sensor has
_METAVISION = (
    "{path} is an HDF5 file of Metavision: its events are in CD/events, in general compressed with "
    "Metavision's codec ECF; expected is the group 'events' with the columns x, y, p, t. Convert "
    "it with Metavision's metavision_file_to_dat -i {name}, and use the .dat."
)


class H5Reader(EventReader):
    """Recording in HDF5.

    Blocks that cannot be decompressed are left out and counted (``events_unreadable``).
    """

    def __init__(
        self, path: Path, sensor: tuple[int, int] = (DEFAULT_WIDTH, DEFAULT_HEIGHT)
    ) -> None:
        self.path = Path(path)
        self.counts: Counter[str] = Counter()
        self._file = open_h5(self.path)
        try:
            with damage_reported(self.path, "events in HDF5"):
                if "CD/events" in self._file:
                    raise EventDataError(_METAVISION.format(path=path, name=self.path.name))
                group = self._file.get("events")
                self._columns = _columns(group, self.path)
                self._reader = ColumnReader(self._columns)
                self.width = _scalar(group, "width", sensor[0])
                self.height = _scalar(group, "height", sensor[1])
        except BaseException:
            self._file.close()
            raise

    def num_events(self) -> int:
        return min(len(column) for column in self._columns.values())

    def time_range_us(self) -> tuple[int, int]:
        if self.num_events() == 0:
            return 0, 0
        times, last = Rows(self._columns["t"]), self.num_events() - 1
        with damage_reported(self.path, "time stamps"):
            return int(times.read(0, 1)[0]), int(times.read(last, last + 1)[0])

    def chunks(self, max_events: int = CHUNK_EVENTS) -> Iterator[Events]:
        """Blocks of at most ``max_events`` events, in file order; the next are read meanwhile."""
        total = self.num_events()
        longest = max(len(column) for column in self._columns.values())
        self.counts = Counter(events_incomplete=longest - total)
        spans = ((n, min(n + max_events, total)) for n in range(0, total, max_events))
        for start, stop, read in _behind((*span, self._reader.begin(*span)) for span in spans):
            try:
                columns = read()
            except Exception as error:  # which one depends on the damage
                LOG.warning("%s: events %d to %d unreadable (%s)", self.path, start, stop, error)
                self.counts["events_unreadable"] += stop - start
                continue
            yield self._events(**columns)

    def _events(self, x: np.ndarray, y: np.ndarray, p: np.ndarray, t: np.ndarray) -> Events:
        polarity, odd = as_polarity(p)
        if odd:
            self.counts["events_odd_polarity"] += odd
        return Events(_coordinate(x), _coordinate(y), polarity, t.astype(np.int64, copy=False))

    def close(self) -> None:
        self._reader.close()
        self._file.close()


def _behind(begun: Iterable[_Begun]) -> Iterator[_Begun]:
    """What has begun, each when the next ones have, too."""
    waiting: deque[_Begun] = deque()
    for one in begun:
        waiting.append(one)
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting


def as_polarity(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Polarity as 0/1 (uint8; -1 becomes 0), and how many were neither -1, 0 nor 1."""
    if values.dtype == np.uint8 and (len(values) == 0 or values.max() <= 1):
        return values, 0
    odd = int(np.count_nonzero((values != 0) & (values != 1) & (values != -1)))
    return (values > 0).astype(np.uint8), odd


def _coordinate(values: np.ndarray) -> np.ndarray:
    """As uint16; what does not fit must stay outside the sensor instead of wrapping into it."""
    if values.dtype == np.uint16:
        return values
    fits = (values >= 0) & (values < OUTSIDE)
    return np.where(fits, values, OUTSIDE).astype(np.uint16)


def _columns(group: object, path: Path) -> dict[str, Dataset]:
    columns: dict[str, Any] = (
        {name: group.get(name) for name in "xypt"} if isinstance(group, Group) else {}
    )
    good = [n for n, c in columns.items() if isinstance(c, Dataset) and _is_numeric_column(c)]
    if len(good) < 4:
        raise EventDataError(
            f"{path} holds no events in the expected layout: the group 'events' with the "
            f"one-dimensional numeric columns x, y, p, t (usable here: {good or 'none'}). "
            f"Convert it to that layout (eventcam.io.write_h5_recording writes it)."
        )
    return {name: columns[name] for name in "xypt"}


def _is_numeric_column(column: Dataset) -> bool:
    return column.ndim == 1 and column.dtype.kind in "iufb"


def _scalar(group: Any, name: str, default: int) -> int:
    if name not in group:
        return default
    value = np.asarray(group[name][()]).reshape(-1)
    if value.size != 1 or value.dtype.kind not in "iu" or not 0 < value[0] < OUTSIDE:
        raise EventDataError(
            f"{group.file.filename} declares the sensor {name} {value.tolist()}; expected is one "
            f"number of px between 1 and {OUTSIDE - 1}. Correct events/{name} in the file."
        )
    return int(value[0])
