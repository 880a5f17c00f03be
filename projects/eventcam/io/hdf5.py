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
COMPRESSION: dict[str, Any] = dict(
    hdf5plugin.Blosc(cname="zstd", clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE)
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
