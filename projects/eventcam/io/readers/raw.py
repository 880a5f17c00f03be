"""Events from Prophesee's ``.raw``, as the camera sent them.

Text lines ``% keyword value``, among them ``evt 3.0`` or ``format EVT3;height=720;width=1280``,
perhaps ``% end``; then words, see :mod:`eventcam.io.readers.evt`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.events import CHUNK_EVENTS, EventReader, Events
from eventcam.io.readers.evt import ENCODINGS, Decoder, Encoding
from eventcam.io.readers.h5 import DEFAULT_HEIGHT, DEFAULT_WIDTH
from eventcam.io.readers.header import open_binary, read_header, sensor_size

BLOCK_WORDS = 1 << 17  # decoded at once; at most 20 MB of events
_LARGEST = 1 << 11  # px along a side that words can name
_VERSIONS = {"2.0": "EVT2", "2.1": "EVT21", "3.0": "EVT3", "4.0": "EVT4"}  # of the older "evt"
# Cameras with a sensor of 640 x 480 px, by system_ID: the headers of their days tell no size.
_VGA = {21, 23, 25, 28, 29, 33, 34, 35, 40, 41, 151, 153, 161, 162}
_FRAMES = ("HISTO3D", "DIFF3D")


class Totals(NamedTuple):
    """What is known of a recording that was read to its end."""

    events: int = 0
    first_us: int = 0
    last_us: int = 0


_TOTALS: dict[tuple[int, ...], Totals] = {}  # by the identity of the file, for all readers


class RawReader(EventReader):
    """Recording in ``.raw``, of the encodings EVT2 and EVT3.

    How many events there are and when the last one was stands nowhere in the file:
    :meth:`num_events` and :meth:`time_range_us` read all of it (a second for about 100 million
    events), unless that was done before in this process, be it by :meth:`chunks`.

    ``counts`` holds ``events_undefined`` (before the first time, row or column), words that are no
    events (``external_triggers``, ``vendor_words``, ``unknown_words``), ``clock_restarts`` and
    ``trailing_bytes``, those after the last whole word.
    """

    def __init__(
        self, path: Path, sensor: tuple[int, int] = (DEFAULT_WIDTH, DEFAULT_HEIGHT)
    ) -> None:
        self.path = Path(path)
        self.counts: Counter[str] = Counter()
        self._file = open_binary(self.path)
        try:
            header = _fields(read_header(self._file, b"% "))
            self.encoding = _encoding(header, self.path)
            self.width, self.height = sensor_size(header, _LARGEST, self.path, sensor)
            self._start = self._file.tell()
        except BaseException:
            self.close()
            raise
        order = ">" if header.get("endianness") == "big" else "<"
        self._word = np.dtype(self.encoding.word).newbyteorder(order)
        stat = os.fstat(self._file.fileno())
        self._bytes = stat.st_size - self._start
        self._identity = stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns

    def num_events(self) -> int:
        return self._totals().events

    def time_range_us(self) -> tuple[int, int]:
        totals = self._totals()
        return totals.first_us, totals.last_us

    def chunks(self, max_events: int = CHUNK_EVENTS) -> Iterator[Events]:
        """Blocks of at most ``max_events`` events, in file order."""
        self.counts = Counter(trailing_bytes=self._bytes % self._word.itemsize)
        decoder, total = Decoder(self.encoding), Totals()
        for words in self._words():
            events = decoder(words)
            self.counts |= decoder.counts
            if len(events):
                first = total.first_us if total.events else int(events.t[0])
                total = Totals(total.events + len(events), first, int(events.t[-1]))
            for start in range(0, len(events), max_events):
                yield events[start : start + max_events]
        _TOTALS[self._identity] = total

    def _words(self) -> Iterator[np.ndarray]:
        """All words, block by block."""
        size, total = self._word.itemsize, self._bytes // self._word.itemsize
        for start in range(0, total, BLOCK_WORDS):
            self._file.seek(self._start + start * size)
            words = np.fromfile(self._file, self._word, min(BLOCK_WORDS, total - start))
            yield words.astype(self.encoding.word, copy=False)

    def _totals(self) -> Totals:
        if self._identity not in _TOTALS:
            with RawReader(self.path) as reader:
                for _ in reader.chunks():
                    pass
                self._identity = reader._identity
        return _TOTALS[self._identity]

    def close(self) -> None:
        self._file.close()


def _fields(header: dict[str, str]) -> dict[str, str]:
    """The header, with what ``format`` and other keywords say of the sensor under one name."""
    name, *options = header.get("format", "").split(";")
    fields = dict(part.split("=", 1) for part in options if "=" in part)
    width, _, height = header.get("geometry", "").partition("x")
    if header.get("system_id", "") in map(str, _VGA):
        width, height = width or "640", height or "480"
    named = _VERSIONS.get(header.get("evt", ""), header.get("evt", ""))
    return {"width": width, "height": height} | header | fields | {"format": name or named}


def _encoding(header: Mapping[str, str], path: Path) -> Encoding:
    name = header["format"].upper()
    if name in ENCODINGS:
        return ENCODINGS[name]
    if name.startswith(_FRAMES):
        raise EventDataError(
            f"{path} holds frames ({name}) that the camera has made of its events. Record the "
            f"events themselves, as {' or '.join(ENCODINGS)}."
        )
    if name:
        raise EventDataError(
            f"{path} holds events in the encoding {name}; read are {' and '.join(ENCODINGS)}. "
            f"Convert it with Metavision's metavision_file_to_dat -i {path.name}, and use the .dat."
        )
    if "version" in header:
        raise EventDataError(
            f"{path} is no Prophesee .raw recording: its header is that of a .dat one. Give its "
            f"name the ending .dat."
        )
    raise EventDataError(
        f"{path} is no Prophesee .raw recording whose encoding is known: expected is a line such "
        f"as '% evt 3.0' or '% format EVT3;height=720;width=1280' at its beginning. If Metavision "
        f"plays it, metavision_file_to_dat -i {path.name} makes a .dat of it; else copy it again."
    )
