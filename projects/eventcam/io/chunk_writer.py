"""Writing a dataset entry by entry while another thread compresses."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import numpy as np

from eventcam.io.blosc import compress, is_callable
from eventcam.io.hdf5 import Dataset

_WAITING = 3  # entries that are compressed or wait for it; bounds the memory


class ChunkWriter:
    """Fills a dataset from its first entry on; a context manager, whose end waits for all of them.

    What is in the file is the same as after ``data[i] = values``. After an exception within the
    ``with`` block the last entries may be missing.

    Args:
        data: compressed as :data:`eventcam.io.hdf5.COMPRESSION`, one entry a chunk.

    Attributes:
        count: entries that were appended.
    """

    def __init__(self, data: Dataset) -> None:
        self.count = 0
        self._data = data
        self._written = 0
        self._waiting: deque[Future[bytes]] = deque()
        self._thread = ThreadPoolExecutor(1, "compress") if is_callable() else None

    def append(self, values: np.ndarray) -> None:
        """Write the next entry; ``values`` belong to the writer from now on.

        Args:
            values: of the shape and type of an entry, contiguous.
        """
        if self._thread is None:
            self._data[self.count] = values
        else:
            if len(self._waiting) == _WAITING:
                self._write_oldest()
            self._waiting.append(self._thread.submit(compress, values))
        self.count += 1

    def _write_oldest(self) -> None:
        place = (self._written, *(0 for _ in self._data.shape[1:]))
        self._data.id.write_direct_chunk(place, self._waiting.popleft().result())
        self._written += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._waiting and kind is None:
                self._write_oldest()
        finally:
            if self._thread is not None:
                self._thread.shutdown(cancel_futures=True)
