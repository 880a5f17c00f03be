"""Parallel streams: which span each stream plays when, in training and in evaluation."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from eventcam.sampling.spans import Span, deal, random_state

_ORDER = 1  # of the spans in an epoch; keeps the generator apart from the others


class Place(NamedTuple):
    """What a stream plays in one step of the optimisation.

    Attributes:
        span: its number.
        chunk: of the span; 0 begins with an empty state.
        play: the span's place in the queue; the epoch is ``play // number of spans``.
    """

    span: int
    chunk: int
    play: int


def play_streams(
    chunk_counts: Sequence[int], streams: int, seed: int, start: int
) -> Iterator[list[Place]]:
    """The place of every endless stream, from optimisation step ``start`` on.

    The streams share one queue, which holds every span once per epoch, in an order of its own for
    each epoch. A stream that has played a span to its end takes the next one from the queue; if
    several are ready, the lowest number comes first. So all streams are always busy, each span is
    played exactly once per epoch, whole, by one stream, and with fewer spans than streams the next
    epoch begins at once. What is played in step k depends on the other arguments and k only.

    Args:
        chunk_counts: chunks of each span, at least 1; at least one span.
        streams: how many play at once.
        seed: of the order.
        start: first step that is wanted.
    """
    queue = _queue(len(chunk_counts), seed)
    playing = [(0, Place(0, 0, 0))] * streams  # first step and first place of each stream
    ready = [(0, stream) for stream in range(streams)]  # a heap: free from which step on
    for now in itertools.count(start):
        while ready[0][0] <= now:
            begin, stream = ready[0]
            playing[stream] = begin, next(queue)
            until = begin + chunk_counts[playing[stream][1].span]
            heapq.heapreplace(ready, (until, stream))
        yield [place._replace(chunk=now - begin) for begin, place in playing]


def _queue(spans: int, seed: int) -> Iterator[Place]:
    play = itertools.count()
    for epoch in itertools.count():
        for span in random_state(seed, _ORDER, epoch).permutation(spans).tolist():
            yield Place(span, 0, next(play))


def evaluation_slots(
    spans: Sequence[Span], streams: int, rank: int, world_size: int
) -> list[list[Span]]:
    """The spans that each stream of one process plays one after the other.

    By length, longest first, spans are dealt to the processes and, within a process, to its
    streams, which keeps both about equally long. Streams may stay without spans.
    """
    by_length = sorted(spans, key=lambda span: span.start - span.stop)
    return deal(deal(by_length, world_size)[rank], streams)


def evaluation_steps(
    slots: Sequence[Sequence[Span]], length: int
) -> list[list[tuple[Span, int] | None]]:
    """Span and chunk of every stream, step by step; None where a stream has ended."""
    played = [[(span, i) for span in slot for i in range(span.chunks(length))] for slot in slots]
    return [list(step) for step in itertools.zip_longest(*played)]
