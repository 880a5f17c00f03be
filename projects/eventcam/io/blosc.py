"""Blosc as HDF5's filter would apply it, but without holding up other threads.

h5py lets no other Python thread run while HDF5 reads or writes. The library that hdf5plugin
registers with HDF5 also has the plain functions of c-blosc 1, which ctypes calls without Python's
lock. :class:`ChunkWriter` and :class:`ColumnReader` compress and decompress with them in threads
of their own.
"""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Self

import numpy as np

from eventcam.io.hdf5 import (
    COMPRESSION,
    COMPRESSOR,
    LEVEL,
    SHUFFLE,
    Dataset,
    Rows,
    blosc_library,
    h5_in_memory,
    is_plain_blosc,
)

LOG = logging.getLogger(__name__)
_OVERHEAD = 16  # bytes by which c-blosc's result can exceed what it was given
_BLOCK = 1 << 19  # bytes that are compressed by themselves; c-blosc's choice, 32 KB, is slow
_WAITING = 3  # entries that are compressed or wait for it; bounds the memory
_THREADS = 2  # that decompress
_SIZE, _POINTER, _INT = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int


class ChunkWriter:
    """Fills a dataset entry by entry while another thread compresses.

    A context manager, whose end waits for all of them. What is in the file is the same as after
    ``data[i] = values``. After an exception within the block the last entries may be missing.

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


class ColumnReader:
    """Reads the same stretch of all columns, as ``column[start:stop]`` would, in the background.

    Args:
        columns: one-dimensional datasets.
    """

    def __init__(self, columns: Mapping[str, Dataset]) -> None:
        self._columns = {name: Rows(column) for name, column in columns.items()}
        self._direct = {n for n, c in columns.items() if is_callable() and is_plain_blosc(c)}
        # The column with the largest items takes longest, so it comes first.
        self._order = sorted(columns, key=lambda name: -columns[name].dtype.itemsize)
        self._threads = ThreadPoolExecutor(_THREADS, "decompress") if self._direct else None

    def begin(self, start: int, stop: int) -> Callable[[], dict[str, np.ndarray]]:
        """Begin to read values ``start`` to ``stop`` - 1 of each column.

        Returns:
            What waits for the values and gives them, by column; it raises whatever h5py raises for
            chunks that cannot be read.
        """
        task = partial(self._read, start=start, stop=stop)
        if self._threads is None:
            return lambda: {name: task(name) for name in self._order}
        begun = {name: self._threads.submit(task, name) for name in self._order}
        return lambda: {name: values.result() for name, values in begun.items()}

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown()

    def _read(self, name: str, start: int, stop: int) -> np.ndarray:
        rows = self._columns[name]
        values = _read_directly(rows.data, start, stop) if name in self._direct else None
        return rows.read(start, stop) if values is None else values


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
        except Exception:  # which one depends on the damage; the other way will say it
            return None
        if skipped or not decompress(content, chunk):
            return None
        if not whole:
            low, high = max(first, start), min(first + size, stop)
            out[low - start : high - start] = chunk[low - first : high - first]
    return out


def compress(values: np.ndarray) -> bytes:
    """A whole chunk so that the filter of :data:`eventcam.io.hdf5.COMPRESSION` reads it.

    Args:
        values: the chunk, contiguous.

    Raises:
        RuntimeError: c-blosc refused; see :func:`is_callable` first.
    """
    functions = _functions()
    assert functions is not None
    out = np.empty(values.nbytes + _OVERHEAD, np.uint8)
    settings = LEVEL, SHUFFLE, values.itemsize, values.nbytes
    buffers = values.ctypes.data, out.ctypes.data, out.nbytes
    size = functions.blosc_compress_ctx(*settings, *buffers, COMPRESSOR.encode(), _BLOCK, 1)
    if size <= 0:
        raise RuntimeError(f"Blosc could not compress {values.nbytes} bytes (status {size}).")
    return out[:size].tobytes()


def decompress(content: bytes, out: np.ndarray) -> bool:
    """Fill ``out`` with a chunk that HDF5's filter has compressed.

    Args:
        content: the compressed chunk.
        out: contiguous, of the size of the chunk.

    Returns:
        Whether it could be done; if not, ``out`` may hold anything.
    """
    functions, size = _functions(), ctypes.c_size_t()
    assert functions is not None
    if functions.blosc_cbuffer_validate(content, len(content), ctypes.byref(size)) < 0:
        return False
    if size.value != out.nbytes:
        return False
    return functions.blosc_decompress_ctx(content, out.ctypes.data, out.nbytes, 1) == out.nbytes


@cache
def is_callable() -> bool:
    """Whether :func:`compress` and :func:`decompress` are there, and agree with HDF5."""
    if _functions() is None:
        LOG.debug("hdf5plugin's library lacks functions of c-blosc; HDF5 calls it by itself.")
        return False
    try:
        works = _agrees_with_hdf5((np.arange(6000) % 7).astype(np.uint8))
    except (OSError, RuntimeError):
        works = False
    if not works:
        LOG.warning("Blosc is left to HDF5, which is slower: called directly it is wrong here.")
    return works


def _agrees_with_hdf5(values: np.ndarray) -> bool:
    with h5_in_memory() as file:
        options = {"chunks": values.shape, **COMPRESSION}
        data = file.create_dataset("data", values.shape, values.dtype, **options)
        content, found = compress(values), np.empty_like(values)
        data.id.write_direct_chunk((0,), content)
        known = decompress(content, found) and np.array_equal(found, values)
        return known and np.array_equal(data[:], values)


@cache
def _functions() -> ctypes.CDLL | None:
    """The library, with the types of the arguments of what is called here."""
    try:
        library = ctypes.CDLL(blosc_library() or "")
        compress_, decompress_ = library.blosc_compress_ctx, library.blosc_decompress_ctx
        validate = library.blosc_cbuffer_validate
    except (OSError, AttributeError):
        return None
    compress_.argtypes = [_INT, _INT, _SIZE, _SIZE, _POINTER, _POINTER, _SIZE]
    compress_.argtypes += [ctypes.c_char_p, _SIZE, _INT]  # compressor, block size, threads
    decompress_.argtypes = [ctypes.c_char_p, _POINTER, _SIZE, _INT]
    validate.argtypes = [ctypes.c_char_p, _SIZE, _POINTER]
    return library
