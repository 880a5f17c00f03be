"""Which steps of a recording are played together: spans, chunks, windows, and who plays what.

Step shorthand: a step is one representation of a recording (50 ms); ``start`` and ``stop`` are
steps with ``stop`` excluded; a labelled step is one of which the boxes, or that there are none,
are known. The rules are those published with RVT (Gehrig and Scaramuzza, CVPR 2023), except where
said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

Item = TypeVar("Item")
_WORD = 0xFFFFFFFF


class Span(NamedTuple):
    """Steps ``start`` to ``stop`` - 1 of a recording, played in order from an empty state."""

    recording: int
    start: int
    stop: int

    def chunks(self, length: int) -> int:
        """How many chunks of ``length`` steps it has, the last one perhaps shorter."""
        return -(-(self.stop - self.start) // length)

    def chunk(self, index: int, length: int) -> tuple[int, int]:
        """Start and stop of one chunk."""
        start = self.start + index * length
        return start, min(start + length, self.stop)


def random_state(seed: int, *words: int) -> np.random.RandomState:
    """A generator that depends on the arguments only.

    RandomState, because numpy promises that its stream never changes between versions.
    """
    halves = [half for word in (seed, *words) for half in (word & _WORD, (word >> 32) & _WORD)]
    return np.random.RandomState(halves)


def labelled_spans(labelled_steps: np.ndarray, length: int) -> list[tuple[int, int]]:
    """A recording cut wherever more than ``length`` steps lie from one labelled step to the next.

    Every span begins up to ``length`` - 1 steps before its first labelled step and ends with its
    last one, so each of its chunks has a labelled step.

    Args:
        labelled_steps: (L,) sorted, distinct.
        length: steps of a chunk.

    Returns:
        Start and stop of each span; none for a recording without labelled steps.
    """
    if len(labelled_steps) == 0:
        return []
    cuts = np.flatnonzero(np.diff(labelled_steps) > length)
    first, last = labelled_steps[[0, *(cuts + 1)]], labelled_steps[[*cuts, -1]]
    starts = np.maximum(first - length + 1, 0)
    return list(zip(starts.tolist(), (last + 1).tolist(), strict=True))


def whole_span(labelled_steps: np.ndarray, num_steps: int, length: int) -> tuple[int, int]:
    """A recording in one piece, label-free stretches included.

    It begins up to ``length`` - 1 steps before the first labelled step, and ends with the
    recording; without labelled steps it is the whole recording.
    """
    first = int(labelled_steps[0]) if len(labelled_steps) else 0
    return max(first - length + 1, 0), num_steps


def windows(
    labelled_steps: np.ndarray, num_steps: int, length: int, stride: int = 1
) -> list[tuple[int, int]]:
    """Windows of ``length`` steps, each of which ends with a labelled step.

    A labelled step that has fewer than ``length`` - 1 steps before it ends no window. A recording
    in which none fits gives one shorter window from its start, so that short recordings are of use
    (our addition).

    Args:
        labelled_steps: (L,) sorted, distinct.
        num_steps: of the recording.
        length: steps of a window.
        stride: two windows end at least so many steps apart; 1 is every labelled step.
    """
    found: list[tuple[int, int]] = []
    for step in labelled_steps[labelled_steps >= length - 1].tolist():
        if not found or step + 1 - found[-1][1] >= stride:
            found.append((step + 1 - length, step + 1))
    if not found and len(labelled_steps):
        return [(0, min(length, num_steps))]
    return found


def enough_spans(spans: Iterable[Span], length: int, wanted: int) -> list[Span]:
    """At least ``wanted`` spans, by halving the longest at a chunk border as often as needed.

    Spans of a single chunk are left whole, so there may be fewer in the end.
    """
    parts = list(spans)
    while 0 < len(parts) < wanted:
        longest = max(range(len(parts)), key=lambda i: parts[i].chunks(length))
        recording, start, stop = parts[longest]
        half = parts[longest].chunks(length) // 2
        if half == 0:
            break
        middle = start + half * length
        parts[longest : longest + 1] = [
            Span(recording, start, middle),
            Span(recording, middle, stop),
        ]
    return parts


def deal(items: Sequence[Item], parts: int) -> list[list[Item]]:
    """Items, longest first, dealt to ``parts`` hands there and back: 0, 1, 2, 2, 1, 0, 0, ..."""
    order = [*range(parts), *reversed(range(parts))]
    hands: list[list[Item]] = [[] for _ in range(parts)]
    for place, item in enumerate(items):
        hands[order[place % len(order)]].append(item)
    return hands
