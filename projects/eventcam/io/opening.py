"""One door to all event files."""

from __future__ import annotations

from pathlib import Path

from eventcam.errors import EventDataError
from eventcam.io.events import EventReader
from eventcam.io.readers.dat import DatReader
from eventcam.io.readers.h5 import H5Reader

READERS = {".h5": H5Reader, ".hdf5": H5Reader, ".dat": DatReader}


def open_events(path: Path | str) -> EventReader:
    """The reader for a file, by its suffix; use it as a context manager.

    Raises:
        EventDataError: unknown suffix, or the file is no recording; the text says why.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise EventDataError(
            f"{path} has the suffix {path.suffix!r}; events are read from {', '.join(READERS)}. "
            f"Convert the recording first (Metavision's file converter writes both)."
        )
    return reader(path)
