"""HDF5 with the compression filters of event data: the only module that imports h5py.

Importing hdf5plugin registers Blosc and its relatives with the HDF5 library; without it reading
ends in "can't open directory .../hdf5/lib/plugin".
"""

from __future__ import annotations

import struct
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from eventcam.io.arrays import damage_reported

Dataset = h5py.Dataset
File = h5py.File
Group = h5py.Group

# Level 1 and the byte shuffle are those of the published representation files.
COMPRESSOR, LEVEL, SHUFFLE = "zstd", 1, hdf5plugin.Blosc.SHUFFLE
COMPRESSION: dict[str, Any] = dict(
    hdf5plugin.Blosc(cname=COMPRESSOR, clevel=LEVEL, shuffle=SHUFFLE)
)

_BLOSC, _SHUFFLE = hdf5plugin.Blosc.filter_id, h5py.h5z.FILTER_SHUFFLE
_DEADLY = {hdf5plugin.SZ.filter_id, hdf5plugin.SZ3.filter_id}
"""Lossy filters for floats, whose libraries end the process where data is damaged."""
_HEADER = struct.Struct("<4xI4xI")  # of a Blosc chunk; its bytes without and with compression


class Rows:
    """Rows of a dataset whose chunks may be damaged.

    Blosc's filter believes the header of a chunk: where it lies, bytes beyond the chunk are read
    and the process dies. Each chunk is looked at once before the filter sees it.

    Attributes:
        data: the dataset.

    Raises:
        OSError: its filter is SZ or SZ3.
    """

    def __init__(self, data: h5py.Dataset) -> None:
        self.data, filters = data, _filters(data)
        self._sound: set[tuple[int, ...]] = set()
        self._is_blosc = filters in ([_BLOSC], [_SHUFFLE, _BLOSC])
        if _DEADLY & {*filters}:
            raise OSError(f"{data.name} is compressed by SZ, which is for floats")

    def read(self, start: int, stop: int) -> np.ndarray:
        """``data[start:stop]``.

        Raises:
            OSError: a chunk is no Blosc chunk, or h5py cannot read it.
        """
        if self._is_blosc and self.data.chunks is not None:
            size, *others = self.data.chunks
            rest = (range(0, n, step) for n, step in zip(self.data.shape[1:], others, strict=True))
            for place in product(range(start - start % size, stop, size), *rest):
                if place not in self._sound:
                    self._check(place)
                    self._sound.add(place)
        return self.data[start:stop]

    def _check(self, place: tuple[int, ...]) -> None:
        try:
            skipped, content = self.data.id.read_direct_chunk(place)
        except Exception:  # no such chunk: HDF5 fills the rows in, or says what is wrong
            return
        size = prod(self.data.chunks or ()) * self.data.id.get_type().get_size()
        if not (skipped or _is_sound(content, size)):
            raise OSError(f"the chunk at row {place[0]} is damaged")


def _is_sound(chunk: bytes, size: int) -> bool:
    """Whether a Blosc chunk says its sizes in bytes, ``size`` when decompressed."""
    return len(chunk) >= _HEADER.size and _HEADER.unpack_from(chunk) == (size, len(chunk))


def _filters(data: h5py.Dataset) -> list[int]:
    """Numbers of the filters between the values and the chunks in the file."""
    creation = data.id.get_create_plist()
    return [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]


def open_h5(path: Path) -> h5py.File:
    """The file, open for reading.

    Raises:
        EventDataError: it is missing, cut short or no HDF5 file.
    """
    with damage_reported(path, "HDF5"):
        return h5py.File(path, "r")


def create_h5(path: Path) -> h5py.File:
    """A new file, open for writing; an existing one is replaced."""
    return h5py.File(path, "w")


def h5_in_memory() -> h5py.File:
    """A new file that is never on disk."""
    return h5py.File("memory", "w", driver="core", backing_store=False)


def blosc_library() -> str | None:
    """Path of the library that registers Blosc; None if hdf5plugin did not bring it."""
    return hdf5plugin.get_config().registered_filters.get("blosc")


def is_plain_blosc(data: h5py.Dataset) -> bool:
    """Whether Blosc, and nothing else, stands between the chunks in the file and the values."""
    as_in_memory = h5py.h5t.py_create(data.dtype).equal(data.id.get_type())
    is_native = data.dtype.isnative and as_in_memory
    return data.chunks is not None and is_native and _filters(data) == [_BLOSC]
