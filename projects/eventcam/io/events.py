"""What every reader gives and every writer takes: blocks of events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

CHUNK_EVENTS = 1 << 20  # 14 MB, as one event takes 13 bytes; the next block gets the same memory


@dataclass(frozen=True)
class Events:
    """N events in the order of their file.

    Attributes:
        x: (N,) uint16, column in px.
        y: (N,) uint16, row in px.
        p: (N,) uint8, 1 = brighter, 0 = darker.
        t: (N,) int64, microseconds.
    """

    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    t: np.ndarray

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, index: slice | np.ndarray) -> Events:
        """The events of a slice or a boolean mask."""
        return Events(self.x[index], self.y[index], self.p[index], self.t[index])

    @staticmethod
    def empty() -> Events:
        return Events(*(np.empty(0, kind) for kind in (np.uint16, np.uint16, np.uint8, np.int64)))

    @staticmethod
    def concatenate(parts: Sequence[Events]) -> Events:
        """One block; a single part is returned as it is, without a copy."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Events.empty()
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in "xypt")
        return Events(*columns)


class EventReader(ABC):
    """A recording that is read block by block; a context manager.

    Attributes:
        width: sensor width, px.
        height: sensor height, px.
        counts: what the last pass of :meth:`chunks` could not take as it was, by reason.
    """

    width: int
    height: int
    counts: Counter[str]

    @abstractmethod
    def num_events(self) -> int: ...

    @abstractmethod
    def time_range_us(self) -> tuple[int, int]:
        """Times of the first and the last event of the file; (0, 0) if it has none."""

    @abstractmethod
    def chunks(self, max_events: int = CHUNK_EVENTS) -> Iterator[Events]:
        """Blocks of at most ``max_events`` events, in file order."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
