"""Streaming evaluation of event sequences: whole recordings, several at once, in all processes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from eventcam.errors import EventDataError
from eventcam.sampling.sequences import Chunk, Recording, Sequences
from eventcam.sampling.spans import Span, whole_span
from eventcam.sampling.streams import evaluation_slots, evaluation_steps
from eventcam.sampling.workers import SampleLoader, process

logger = logging.getLogger(__name__)


def build_sequence_eval_loader(
    recordings: Sequence[Recording],
    sequence_length: int,
    batch_size: int = 1,
    num_workers: int = 0,
    known_empty: bool = True,
    limit: int | None = None,
    rank: int | None = None,
    world_size: int | None = None,
) -> SampleLoader:
    """The evaluation loader of one process: recordings in order, one in each place of a batch.

    Every labelled step comes once, in one of the processes. A place without recordings left gives
    padding (``padded`` all True, nothing labelled), so that each batch has ``batch_size`` samples.
    As published, a recording is played from ``sequence_length`` - 1 steps before its first
    labelled step to its end, so that the recurrent state of the first labelled steps is warmer
    with longer samples. Recordings without labelled steps are left out, and counted.

    Args:
        recordings: of one split, in their order.
        sequence_length: steps of a sample. It also sets the warm-up (see above): compare results
            of equal lengths only.
        batch_size: recordings that are played at once by a process.
        num_workers: worker processes of this process.
        known_empty: whether steps known to be empty count as labelled.
        limit: only the first so many labelled steps.
        rank: of this process; asked from torch.distributed if None, like ``world_size``.
        world_size: number of processes; each plays whole recordings.
    """
    if batch_size < 1:
        raise EventDataError(f"batch_size={batch_size} was given; it must be at least 1.")
    rank, world_size = process(rank, world_size)
    sequences = Sequences(recordings, sequence_length, known_empty)
    slots = evaluation_slots(evaluation_spans(sequences, limit), batch_size, rank, world_size)
    first = rank * batch_size
    batches = [
        [_chunk(place, stream, sequence_length) for stream, place in enumerate(step, first)]
        for step in evaluation_steps(slots, sequence_length)
    ]
    return SampleLoader(sequences, batches, num_workers)


def evaluation_spans(sequences: Sequences, limit: int | None = None) -> list[Span]:
    """What is played of each recording, up to ``limit`` labelled steps in all."""
    spans = []
    left = len(sequences) if limit is None else limit
    for number, labelled in enumerate(sequences.labelled):
        wanted, left = labelled[:left], left - len(labelled[:left])
        if len(wanted):
            steps = sequences.recordings[number].num_steps
            stop = steps if len(wanted) == len(labelled) else int(wanted[-1]) + 1
            spans.append(Span(number, *whole_span(wanted, stop, sequences.length)))
    silent = sum(len(labelled) == 0 for labelled in sequences.labelled)
    logger.info(f"{len(spans)} recordings are played; {silent} without labelled steps are not.")
    return spans


def _chunk(place: tuple[Span, int] | None, stream: int, length: int) -> Chunk:
    if place is None:
        return Chunk(0, 0, 0, is_first=True, stream=stream)
    span, index = place
    return Chunk(span.recording, *span.chunk(index, length), is_first=index == 0, stream=stream)
