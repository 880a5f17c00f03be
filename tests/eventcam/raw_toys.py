"""Writing Prophesee's .raw one event at a time, from the text of the formats.

Words are put together from strings of bits, as the tables of the formats show them; nothing is
shared with the readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from eventcam.io import Events

Event = tuple[int, int, int, int]  # x, y, p, t (us of the camera)


def in_order(events: Events) -> list[Event]:
    return list(zip(*(getattr(events, name).tolist() for name in "xypt"), strict=True))


def words_of(encoding: str, events: Events, vectors: bool = False) -> Iterator[int]:
    listed = in_order(events)
    return evt2_words(listed) if encoding == "EVT2" else evt3_words(listed, vectors)


def evt2_words(events: Iterable[Event]) -> Iterator[int]:
    """Upper 28 bits of the time whenever they change; the other 6 in each event."""
    high = None
    for x, y, p, t in events:
        time = f"{t % 2**34:034b}"
        if time[:28] != high:
            high = time[:28]
            yield int("1000" + high, 2)
        yield int(f"000{p}" + time[28:] + f"{x:011b}{y:011b}", 2)


def evt3_words(events: Iterable[Event], vectors: bool = False) -> Iterator[int]:
    """What changes, when it changes; events of one time, row and polarity perhaps as vectors."""
    high = low = row = None
    for (y, p, t), group in groupby(events, key=lambda event: event[1:]):
        time = f"{t % 2**24:024b}"
        if time[:12] != high:
            high, low = time[:12], None
            yield int("1000" + high, 2)
        if time[12:] != low:
            low = time[12:]
            yield int("0110" + low, 2)
        if y != row:
            row = y
            yield int(f"00000{y:011b}", 2)
        columns = [x for x, *_ in group]
        if vectors and columns == sorted(set(columns)):
            yield from _vectors(columns, p)
        else:
            yield from (int(f"0010{p}{x:011b}", 2) for x in columns)


def _vectors(columns: list[int], p: int) -> Iterator[int]:
    """VECT_BASE_X, then 12, 12 and 8 columns in turn, until the last column."""
    start = columns[0]
    yield int(f"0011{p}{start:011b}", 2)
    turn = 0
    while start <= columns[-1]:
        kind, size = (("0100", 12), ("0100", 12), ("0101", 8))[turn % 3]
        valid = "".join("1" if start + i in columns else "0" for i in reversed(range(size)))
        yield int(kind + valid.rjust(12, "0"), 2)
        start, turn = start + size, turn + 1


def header(encoding: str, width: int, height: int) -> str:
    """What a camera of today writes."""
    return (
        "% camera_integrator_name Prophesee\n% date 2023-03-29 16:37:46\n"
        f"% evt {encoding[3]}.0\n% format {encoding};height={height};width={width}\n"
        f"% geometry {width}x{height}\n% system_ID 49\n% end\n"
    )


def write_words(path: Path, encoding: str, words: Iterable[int], text: str) -> Path:
    """``text`` is the header."""
    content = np.fromiter(words, {"EVT2": "<u4", "EVT3": "<u2"}[encoding])
    path.write_bytes(text.encode() + content.tobytes())
    return path


def write_raw(
    path: Path, encoding: str, events: Events, width: int, height: int, vectors: bool = False
) -> Path:
    """A whole recording, in EVT2 or EVT3, that began when the clock of the camera did."""
    beginning = {"EVT2": 0x80000000, "EVT3": 0x8000}[encoding]
    words = [beginning, *words_of(encoding, events, vectors)]
    return write_words(path, encoding, words, header(encoding, width, height))
