"""Decoding Prophesee's .raw, one process, against copying what comes out, and against numpy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Candidate, Row, compare
from benchmarks.parts.data.events import HEIGHT, WIDTH, recorded
from eventcam.io import Events, open_events
from eventcam.io.readers.evt import EVT2, EVT3, Decoder, Encoding

EVENTS_US = 1_000_000  # of a recording with 10 million events a second
EVENT_BYTES = 13
OF_COPYING = 0.25  # of the speed of a copy to new memory, to which events are decoded, too
OF_NUMPY = 3.0  # times the speed of the decoder without compiled code


def rows() -> Iterator[Row]:
    """From file to events, for single events and for EVT3's vectors."""
    events = recorded(0, EVENTS_US)
    streams = (
        ("EVT2", EVT2, evt2_words(events)),
        ("EVT3", EVT3, evt3_words(events)),
        ("EVT3 vectors", EVT3, vector_words(EVENTS_US // 2)),
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, encoding, words in streams:
            yield from decoding(name, encoding, words, Path(folder) / f"{name}.raw")


def decoding(name: str, encoding: Encoding, words: np.ndarray, path: Path) -> Iterator[Row]:
    header = f"% format {encoding.name};height={HEIGHT};width={WIDTH}\n% end\n"
    path.write_bytes(header.encode() + words.tobytes())

    def candidate() -> int:
        with open_events(path) as reader:
            return sum(len(block) for block in reader.chunks())

    def plain() -> None:
        decoder = Decoder(encoding)
        for block in np.array_split(words, len(words) // (1 << 17) + 1):
            decoder.plain(block)

    source = np.ones(candidate() * EVENT_BYTES, np.uint8)
    row = f"{name}, of a copy of the events"
    yield from compare(source.copy, {row: Candidate(candidate, OF_COPYING)}, rounds=9)
    row = f"{name}, of numpy"
    yield from compare(plain, {row: Candidate(candidate, OF_NUMPY)}, rounds=3)


def evt2_words(events: Events) -> np.ndarray:
    """EVT_TIME_HIGH when it changes, and a word for each event."""
    x, y, p, t = (getattr(events, name).astype(np.int64) for name in "xypt")
    high, low = t >> 6, t & 63
    words = np.stack([8 << 28 | high, p << 28 | low << 22 | x << 11 | y], 1)
    return words[np.stack([_changes(high), np.ones(len(t), bool)], 1)].astype("<u4")


def evt3_words(events: Events) -> np.ndarray:
    """Times and rows when they change, and a word for each event."""
    x, y, p, t = (getattr(events, name).astype(np.int64) for name in "xypt")
    high, low = t >> 12, t & 0xFFF
    words = np.stack([8 << 12 | high, 6 << 12 | low, y, 2 << 12 | p << 11 | x], 1)
    said = [_changes(high), _changes(t), _changes(y), np.ones(len(t), bool)]
    return words[np.stack(said, 1)].astype("<u2")


def vector_words(vectors: int) -> np.ndarray:
    """A row of 32 columns, half of them events, every microsecond; some 16 events each."""
    rng, t = np.random.default_rng(0), np.arange(vectors)
    y, x = rng.integers(0, HEIGHT, vectors), rng.integers(0, WIDTH - 32, vectors)
    masks = (4 << 12 | rng.integers(0, 1 << 12, vectors) for _ in range(2))
    last = 5 << 12 | rng.integers(0, 1 << 8, vectors)
    columns = [8 << 12 | t >> 12, 6 << 12 | t & 0xFFF, y, 3 << 12 | x, *masks, last]
    said = [_changes(t >> 12), *(np.ones(vectors, bool) for _ in columns[1:])]
    return np.stack(columns, 1)[np.stack(said, 1)].astype("<u2")


def _changes(values: np.ndarray) -> np.ndarray:
    return np.diff(values, prepend=-1) != 0
