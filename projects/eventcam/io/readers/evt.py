"""Words of Prophesee's EVT2 and EVT3 to events; numpy here, the same in ``csrc/evt.cpp``.

EVT2 has words of 32 bits, EVT3 of 16; the upper four bits of both are the kind of the word. Bits of
the kinds that say something of events:

======================  ======================================================================
EVT2 0, 1               CD_OFF and CD_ON, one event: lower 6 bits of its time 27-22, x 21-11,
                        y 10-0
EVT2 8                  EVT_TIME_HIGH: upper 28 bits of a clock of 34, in microseconds, 27-0
EVT3 0                  EVT_ADDR_Y: y 10-0; bit 11 says that it is of a second camera
EVT3 2                  EVT_ADDR_X, one event: polarity 11, x 10-0
EVT3 3                  VECT_BASE_X, of the vectors that follow: polarity 11, x 10-0
EVT3 4, 5               VECT_12 and VECT_8: bit i is an event at x + i; then x grows by 12 or 8
EVT3 6, 8               EVT_TIME_LOW and EVT_TIME_HIGH: halves of a clock of 24 bits, 11-0
both 10                 EXT_TRIGGER
both 14, 15; EVT3 7     OTHERS and what continues them (CONTINUED)
======================  ======================================================================

Legend: N words.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eventcam.io.events import Events
from eventcam.io.readers.clock import Clock
from nativecode import CheckedKernel

_LAST_X = 0x7FFF  # of vectors that go on and on; no sensor is so wide
_ADDR_Y, _ADDR_X, _BASE_X, _VECT_12, _VECT_8, _TIME_LOW, _TIME_HIGH = 0, 2, 3, 4, 5, 6, 8
_WIDTHS = np.zeros(16, np.int64)  # columns by which a word moves the next vector
_WIDTHS[[_VECT_12, _VECT_8]] = 12, 8
_TRIGGER, _OTHERS, _CONTINUED, _CONTINUED_4 = 10, 14, 15, 7


class State(ctypes.Structure):
    """What the words so far have said; also for compiled code.

    Attributes:
        clock: of EVT_TIME_HIGH.
        origin: time at which the recording begins, us of the camera.
        low: lower bits of the time; y: row; base: column of the next vector; polarity: of vectors.
            Row and column are -1 until they are said.
        found: events in the last block.
        undefined: events whose time, row or column had not been said.
        triggers, vendor, unknown: words that are no events, by kind.
    """

    clock: Clock
    origin: int
    low: int
    y: int
    base: int
    polarity: int
    found: int
    undefined: int
    triggers: int
    vendor: int
    unknown: int
    _fields_ = [
        ("clock", Clock),
        *((name, ctypes.c_int64) for name in ("origin", "low", "y", "base", "polarity", "found")),
        *((name, ctypes.c_int64) for name in ("undefined", "triggers", "vendor", "unknown")),
    ]


class Encoding(NamedTuple):
    """One format of words."""

    name: str
    word: type[np.unsignedinteger]
    plain: Callable[[np.ndarray, State], Events]


class Decoder:
    """Decodes the words of one recording, block after block.

    Time begins with the recording, as in files that Metavision converts it to, so that labels made
    with those fit: with the first EVT_TIME_HIGH, and in EVT3 one step of it (4096 us) earlier. It
    goes on when the clock of the camera starts again. Events of a second camera get rows from 2048
    on, which no sensor has.

    Args:
        encoding: one of :data:`ENCODINGS`.
    """

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.state = State(clock=Clock(-1), y=-1, base=-1)

    def __call__(self, words: np.ndarray) -> Events:
        """The events of the next words, (N,) ``encoding.word``, in their order."""
        return (self.compiled if KERNEL.available() else self.plain)(words)

    def plain(self, words: np.ndarray) -> Events:
        """As a call, without compiled code."""
        events = self.encoding.plain(words, self.state) if len(words) else Events.empty()
        self.state.found = len(events)
        return events

    def compiled(self, words: np.ndarray) -> Events:
        """As a call, with compiled code."""
        words = np.ascontiguousarray(words, self.encoding.word)
        given = len(words), words.ctypes.data, ctypes.addressof(self.state)
        name = self.encoding.name.lower()
        KERNEL.call(f"room_{name}", *given)
        kinds = (np.uint16, np.uint16, np.uint8, np.int64)
        out = Events(*(np.empty(self.state.found, kind) for kind in kinds))
        columns = (getattr(out, column).ctypes.data for column in "xypt")
        KERNEL.call(f"decode_{name}", *given, *columns)
        return out[: self.state.found]

    @property
    def counts(self) -> Counter[str]:
        """What was no event, or could not become one, so far, by reason."""
        state = self.state
        return Counter(
            events_undefined=state.undefined,
            external_triggers=state.triggers,
            vendor_words=state.vendor,
            unknown_words=state.unknown,
            clock_restarts=state.clock.restarts,
        )


def _evt2(words: np.ndarray, state: State) -> Events:
    kind = (words >> 28).astype(np.uint8)
    is_event = kind <= 1
    high, known, _ = _high(kind == _TIME_HIGH, words & 0xFFFFFFF, state, turn=1 << 28, tail=6)
    _count_others(kind, (0, 1, _TIME_HIGH), (_OTHERS, _CONTINUED), state)
    state.undefined += int(np.count_nonzero(is_event & ~known))
    kept = is_event & known
    words = words[kept]
    x, y = (words >> 11 & 0x7FF).astype(np.uint16), (words & 0x7FF).astype(np.uint16)
    return Events(x, y, kind[kept], high[kept] + (words >> 22 & 0x3F).astype(np.int64))


def _evt3(words: np.ndarray, state: State) -> Events:
    kind, value = (words >> 12).astype(np.uint8), (words & 0xFFF).astype(np.int64)
    high, known, changed = _high(kind == _TIME_HIGH, value, state, turn=1 << 12, tail=12, ahead=1)
    low = _latest((kind == _TIME_LOW) | changed, np.where(changed, 0, value), state.low)
    y = _latest(kind == _ADDR_Y, value, state.y)
    read = (_ADDR_Y, _ADDR_X, _BASE_X, _VECT_12, _VECT_8, _TIME_LOW, _TIME_HIGH)
    _count_others(kind, read, (_CONTINUED_4, _OTHERS, _CONTINUED), state)
    base, polarity, has_base = _vectors(kind, value, state)
    single = kind == _ADDR_X
    bits = np.where(single, 1, np.where(kind == _VECT_8, value & 0xFF, value)).astype("<u2")
    carriers = np.flatnonzero(single | (_WIDTHS[kind] > 0))  # words with events
    valid = np.unpackbits(bits[carriers].view(np.uint8).reshape(-1, 2), axis=1, bitorder="little")
    known = (known & (y >= 0) & (single | has_base))[carriers, None]
    state.undefined += int(np.count_nonzero(valid & ~known))
    found = np.flatnonzero((valid & known).view(bool))
    word, offset = carriers[found >> 4], found & 15
    x = np.where(single, value & 0x7FF, base)[word] + offset
    p = np.where(single, value >> 11, polarity)[word]
    state.low, state.y = int(low[-1]), int(y[-1])
    x, y = np.minimum(x, _LAST_X).astype(np.uint16), y[word].astype(np.uint16)
    return Events(x, y, p.astype(np.uint8), (high + low)[word])


def _high(
    at: np.ndarray, value: np.ndarray, state: State, turn: int, tail: int, ahead: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each word (N,): upper part of its time in us, whether that is known, if it changes there.

    Args:
        at: (N,) bool, words that are EVT_TIME_HIGH.
        value: (N,) what they say.
        state: its clock and its origin go on.
        turn: after which the clock starts again; tail: lower bits, which are not in ``value``.
        ahead: steps by which the recording begins before its first time.
    """
    raw, last = value[at].astype(np.int64), state.clock.last
    if last < 0 and len(raw):
        state.origin = max(int(raw[0]) - ahead, 0) << tail
    known = (np.cumsum(at) > 0) | (last >= 0)
    before = state.clock.turns * turn + last
    changed, values = at.copy(), np.zeros(len(at), np.int64)
    changed[at] = np.diff(raw, prepend=last) != 0
    values[at] = state.clock.unwrap(raw, turn)
    return (_latest(at, values, before) << tail) - state.origin, known, changed


def _vectors(
    kind: np.ndarray, value: np.ndarray, state: State
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each word (N,): column and polarity of a vector there, and whether they are known."""
    at, widths = kind == _BASE_X, _WIDTHS[kind]
    moved = np.cumsum(widths)
    known = (np.cumsum(at) > 0) | (state.base >= 0)
    base = _latest(at, (value & 0x7FF) - moved, max(state.base, 0)) + moved - widths
    polarity = _latest(at, value >> 11, state.polarity)
    state.base = int(base[-1] + widths[-1]) if known[-1] else -1
    state.polarity = int(polarity[-1])
    return base, polarity, known


def _latest(at: np.ndarray, values: np.ndarray, before: int) -> np.ndarray:
    """The last of ``values`` (N,) that stands ``at`` a word or ahead of it; else ``before``."""
    return np.concatenate(([before], values[at]))[np.cumsum(at)]


def _count_others(
    kind: np.ndarray, read: tuple[int, ...], vendor: tuple[int, ...], state: State
) -> None:
    words = np.bincount(kind, minlength=16)
    state.triggers += int(words[_TRIGGER])
    state.vendor += int(words[list(vendor)].sum())
    state.unknown += len(kind) - int(words[[*read, *vendor, _TRIGGER]].sum())


EVT2, EVT3 = Encoding("EVT2", np.uint32, _evt2), Encoding("EVT3", np.uint16, _evt3)
ENCODINGS = {encoding.name: encoding for encoding in (EVT2, EVT3)}


def _agrees() -> bool:
    rng = np.random.default_rng(0)
    for encoding in ENCODINGS.values():
        fast, slow = Decoder(encoding), Decoder(encoding)
        for _ in range(3):
            words = rng.integers(0, np.iinfo(encoding.word).max, 2000, encoding.word, True)
            a, b = fast.compiled(words), slow.plain(words)
            if bytes(fast.state) != bytes(slow.state):
                return False
            if not all(np.array_equal(getattr(a, n), getattr(b, n)) for n in "xypt"):
                return False
    return True


KERNEL = CheckedKernel(
    "compiled EVT decoder", _agrees, Path(__file__).parents[2] / "csrc" / "evt.cpp"
)
