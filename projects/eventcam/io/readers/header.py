"""Opening Prophesee's files, and the lines of text at their beginning: ``% keyword value``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from eventcam.errors import EventDataError

LOG = logging.getLogger(__name__)
_LONGEST_LINE = 4096  # bytes; a longer "header line" is binary data


def open_binary(path: Path) -> BinaryIO:
    """A file at its beginning.

    Raises:
        EventDataError: it cannot be opened; the text says why.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise EventDataError(f"{path} cannot be opened ({error.strerror}).") from error


def read_header(file: BinaryIO, begin: bytes) -> dict[str, str]:
    """Values by keyword (lower case); leaves the file at the first byte behind the header.

    It ends behind the keyword ``end``, or before what does not look like a line of it.

    Args:
        file: at its beginning.
        begin: what each line begins with.
    """
    fields: dict[str, str] = {}
    while "end" not in fields:
        start = file.tell()
        line = file.readline(_LONGEST_LINE)
        if not (line.startswith(begin) and line.endswith(b"\n")):
            file.seek(start)
            break
        keyword, *value = line[1:].decode("latin-1").split(maxsplit=1) or [""]
        fields.setdefault(keyword.lower(), " ".join(value).strip())
    return fields


def sensor_size(
    fields: Mapping[str, str], limit: int, path: Path, sensor: tuple[int, int]
) -> tuple[int, int]:
    """Sensor width and height, px; those given, and a warning, where the header does not say it.

    Args:
        fields: of the header, with ``width`` and ``height``.
        limit: sizes beyond it are no sizes.
        path: of the file.
        sensor: width and height of a file that does not say it.
    """
    width = _size(fields, "width", limit, sensor[0], path)
    return width, _size(fields, "height", limit, sensor[1], path)


def _size(fields: Mapping[str, str], name: str, limit: int, default: int, path: Path) -> int:
    text = fields.get(name, "").strip()
    size = int(text) if text.isdecimal() and len(text) < 9 else 0
    if 0 < size <= limit:
        return size
    LOG.warning("%s: no usable sensor %s in the header, %d px assumed", path, name, default)
    return default
