"""One door to all event files."""

from __future__ import annotations

from pathlib import Path

from eventcam.errors import EventDataError
from eventcam.io.events import EventReader
from eventcam.io.readers.dat import DatReader
from eventcam.io.readers.h5 import DEFAULT_HEIGHT, DEFAULT_WIDTH, H5Reader
from eventcam.io.readers.raw import RawReader

READERS = {".h5": H5Reader, ".hdf5": H5Reader, ".dat": DatReader, ".raw": RawReader}
_AEDAT = b"#!AER-DAT"


def open_events(
    path: Path | str, sensor: tuple[int, int] = (DEFAULT_WIDTH, DEFAULT_HEIGHT)
) -> EventReader:
    """The reader for a file, by its suffix; use it as a context manager.

    Args:
        path: the file.
        sensor: width and height in px, if the file does not say it.

    Raises:
        EventDataError: unknown suffix, or the file is no recording; the text says why.
    """
    path = Path(path)
    _refuse_aedat(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise EventDataError(
            f"{path} has the suffix {path.suffix!r}; events are read from {', '.join(READERS)}. "
            f"Write them as HDF5 with eventcam.io.write_h5_recording."
        )
    return reader(path, sensor)


def _refuse_aedat(path: Path) -> None:
    """iniVation's files say what they are in their first line, whatever their name."""
    try:
        with path.open("rb") as file:
            line = file.readline(32)
    except OSError:
        return  # the reader will say it
    if line.startswith(_AEDAT):
        version = line.removeprefix(_AEDAT).decode("latin-1").strip()
        older = "" if version.startswith("4") else "convert it to AEDAT 4 with iniVation's DV, "
        raise EventDataError(
            f"{path} is a recording in iniVation's AEDAT {version}, which is not read. To use it, "
            f"{older}read its events with iniVation's dv-processing, and write them with "
            f"eventcam.io.write_h5_recording."
        )
