"""Stretches of several one-dimensional datasets, decompressed at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from eventcam.io.blosc import decompress, is_callable
from eventcam.io.hdf5 import Dataset, is_plain_blosc

_THREADS = 2


class ColumnReader:
    """Reads the same stretch of all columns, as ``column[start:stop]`` would.

    Args:
        columns: one-dimensional datasets.
    """

    def __init__(self, columns: Mapping[str, Dataset]) -> None:
        self._columns = dict(columns)
        self._direct = {n for n, c in columns.items() if is_callable() and is_plain_blosc(c)}
        # The column with the largest items takes longest, so it comes first.
        self._order = sorted(columns, key=lambda name: -columns[name].dtype.itemsize)
        self._threads = ThreadPoolExecutor(_THREADS, "decompress") if self._direct else None

    def read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Values ``start`` to ``stop`` - 1 of each column.

        Raises:
            Exception: whatever h5py raises for chunks that cannot be read.
        """
        task = partial(self._read, start=start, stop=stop)
        found = (self._threads.map if self._threads else map)(task, self._order)
        return dict(zip(self._order, found, strict=True))

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown()

    def _read(self, name: str, start: int, stop: int) -> np.ndarray:
        column = self._columns[name]
        values = _read_directly(column, start, stop) if name in self._direct else None
        return column[start:stop] if values is None else values


def _read_directly(column: Dataset, start: int, stop: int) -> np.ndarray | None:
    """Without HDF5's filters; None if a chunk is missing or damaged, or needed more than once."""
    assert column.chunks is not None
    (size,) = column.chunks
    if stop - start < size:
        return None  # HDF5 keeps the chunk for the next stretch, if it is not too large
    out = np.empty(stop - start, column.dtype)
    for first in range(start - start % size, stop, size):
        whole = start <= first and first + size <= stop
        chunk = out[first - start : first - start + size] if whole else np.empty(size, out.dtype)
        try:
            skipped, content = column.id.read_direct_chunk((first,))
        except Exception:  # which one depends on the damage; HDF5's own way will say it
            return None
        if skipped or not decompress(content, chunk):
            return None
        if not whole:
            low, high = max(first, start), min(first + size, stop)
            out[low - start : high - start] = chunk[low - first : high - first]
    return out
