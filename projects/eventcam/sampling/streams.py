"""Parallel streams: which span each stream plays when, in training and in evaluation."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from eventcam.errors import EventDataError
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


class StreamSchedule:
    """Endless streams that share one queue of spans.

    The queue holds every span once per epoch, in an order of its own for each epoch. A stream that
    has played a span to its end takes the next one from the queue; if several are ready, the lowest
    number comes first. So all streams are always busy, each span is played exactly once per epoch,
    whole, by one stream, and with fewer spans than streams the next epoch begins at once. What is
    played in step k depends on the arguments and k only.

    Args:
        chunk_counts: chunks of each span, at least 1.
        streams: how many play at once.
        seed: of the order.

    Raises:
        EventDataError: there is no span.
    """

    def __init__(self, chunk_counts: Sequence[int], streams: int, seed: int) -> None:
        if not chunk_counts:
            raise EventDataError("There is nothing to stream: no recording has a span to play.")
        self.chunk_counts, self.streams, self.seed = list(chunk_counts), streams, seed

    def steps(self, start: int) -> Iterator[list[Place]]:
        """The place of every stream, from optimisation step ``start`` on, without end."""
        queue = self._queue()
        playing = [(0, Place(0, 0, 0))] * self.streams  # first step and first place of each stream
        ready = [(0, stream) for stream in range(self.streams)]  # a heap: free from which step on
        for now in itertools.count(start):
            while ready[0][0] <= now:
                begin, stream = ready[0]
                playing[stream] = begin, next(queue)
                until = begin + self.chunk_counts[playing[stream][1].span]
                heapq.heapreplace(ready, (until, stream))
            yield [place._replace(chunk=now - begin) for begin, place in playing]

    def _queue(self) -> Iterator[Place]:
        play = itertools.count()
        for epoch in itertools.count():
            order = random_state(self.seed, _ORDER, epoch).permutation(len(self.chunk_counts))
            yield from (Place(span, 0, next(play)) for span in order.tolist())


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
