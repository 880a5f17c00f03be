"""HDF5 with the compression filters of event data: the only module that imports h5py.

Importing hdf5plugin registers Blosc and its relatives with the HDF5 library; without it reading
ends in "can't open directory .../hdf5/lib/plugin".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin

from eventcam.io.arrays import damage_reported

Dataset = h5py.Dataset
File = h5py.File
Group = h5py.Group

# Level 1 and the byte shuffle are those of the published representation files.
COMPRESSOR, LEVEL, SHUFFLE = "zstd", 1, hdf5plugin.Blosc.SHUFFLE
COMPRESSION: dict[str, Any] = dict(
    hdf5plugin.Blosc(cname=COMPRESSOR, clevel=LEVEL, shuffle=SHUFFLE)
)


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
    creation = data.id.get_create_plist()
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    as_in_memory = h5py.h5t.py_create(data.dtype).equal(data.id.get_type())
    is_native = data.dtype.isnative and as_in_memory
    return data.chunks is not None and is_native and filters == [hdf5plugin.Blosc.filter_id]
