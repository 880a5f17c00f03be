"""What a training run plays: random windows, streams, or both, as one endless list of samples."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from eventcam.augment.sequence import RANDOM_ACCESS, STREAMING, AugmentSettings, draw
from eventcam.errors import EventDataError
from eventcam.sampling import spans as sampling
from eventcam.sampling.sequences import Chunk, Sequences
from eventcam.sampling.spans import Span, random_state
from eventcam.sampling.streams import play_streams

logger = logging.getLogger(__name__)
SAMPLINGS = ("random", "streaming", "mixed")
_WINDOWS = 2  # keeps the generator of their order apart from the others
_FROM_STREAM, _FROM_WINDOW = 0, 1


@dataclass(frozen=True)
class SamplingSettings:
    """How sequences are chosen and augmented.

    Attributes:
        mode: "random": windows that end with a labelled step, in random order, each with a new
            state. "streaming": recordings in order, state carried on. "mixed": some places of the
            batch of either kind.
        random_share: in mixed sampling, the share of the batch that is random.
        stride: random windows of a recording end at least so many steps apart.
        play_gaps: True streams each recording in one piece, label-free stretches included. False,
            the published way, cuts it where more than a sequence lies between labelled steps, and
            leaves out recordings without any.
        random_augment: of random windows; None is none.
        stream_augment: of streams, the same from the beginning of a span to its end; None is none.
        seed: of order and augmentation.
    """

    mode: str = "streaming"
    random_share: float = 0.5
    stride: int = 1
    play_gaps: bool = False
    random_augment: AugmentSettings | None = RANDOM_ACCESS
    stream_augment: AugmentSettings | None = STREAMING
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in SAMPLINGS:
            raise EventDataError(f"Unknown sampling {self.mode!r}; expected one of {SAMPLINGS}.")
        if self.stride < 1:
            raise EventDataError(f"A stride is at least 1 step; {self.stride} was given.")
        if self.stream_augment and self.stream_augment.zoom * self.stream_augment.zoom_in_share:
            raise EventDataError(
                "A stream cannot be zoomed in: the window follows an object, which soon is gone. "
                "Set zoom_in_share=0 in the augmentation of streams."
            )


class TrainingSchedule:
    """The chunk of every place of every batch: a function of the arguments and the step only.

    In a mixed batch of B places, round(B * random_share) are random, at least 1 and at most B - 1;
    they are spread evenly, so that every process and micro-batch has its part of them.

    If there are fewer spans than streams, the longest are halved until there are enough; should
    they all be of one chunk, the same span may be played by several streams at once.

    Args:
        sequences: the recordings.
        settings: how to choose.
        places: B, samples per optimisation step, over all processes.

    Raises:
        EventDataError: nothing to play, or a mixed batch of one.
    """

    def __init__(self, sequences: Sequences, settings: SamplingSettings, places: int) -> None:
        self.sequences, self.settings, self.places = sequences, settings, places
        self.streams = places - random_places(settings, places)
        self.spans = training_spans(sequences, settings, self.streams) if self.streams else []
        self.windows: list[Span] = []
        if self.streams < places:
            self.windows = training_windows(sequences, settings.stride)

    @property
    def samples_per_epoch(self) -> float:
        """Samples until the streams (without streams, the windows) have played everything once."""
        if not self.streams:
            return float(len(self.windows))
        return sum(self._chunk_counts()) * self.places / self.streams

    def steps(self, start: int) -> Iterator[list[Chunk]]:
        """The chunks of all places (B), from optimisation step ``start`` on, without end."""
        windows = self._windows(start * (self.places - self.streams))
        playing = self._streams(start) if self.streams else itertools.repeat([])
        for streams in map(iter, playing):
            kinds = (is_stream(place, self.streams, self.places) for place in range(self.places))
            chunks = [next(streams if stream else windows) for stream in kinds]
            yield [chunk._replace(stream=place) for place, chunk in enumerate(chunks)]

    def _streams(self, start: int) -> Iterator[list[Chunk]]:
        augment, seed = self.settings.stream_augment, self.settings.seed
        size = self.sequences.length
        for places in play_streams(self._chunk_counts(), self.streams, seed, start):
            yield [
                Chunk(
                    self.spans[place.span].recording,
                    *self.spans[place.span].chunk(place.chunk, size),
                    is_first=place.chunk == 0,
                    stream=0,
                    drawn=augment and draw(augment, seed, _FROM_STREAM, place.play),
                )
                for place in places
            ]

    def _windows(self, start: int) -> Iterator[Chunk]:
        """Random windows from place ``start`` of an endless list on; an epoch holds each once."""
        augment, seed, order = self.settings.random_augment, self.settings.seed, []
        for counter in itertools.count(start):
            epoch, place = divmod(counter, len(self.windows))
            if place == 0 or not order:
                order = random_state(seed, _WINDOWS, epoch).permutation(len(self.windows)).tolist()
            drawn = augment and draw(augment, seed, _FROM_WINDOW, counter)
            yield Chunk(*self.windows[order[place]], is_first=True, stream=0, drawn=drawn)

    def _chunk_counts(self) -> list[int]:
        return [span.chunks(self.sequences.length) for span in self.spans]


def random_places(settings: SamplingSettings, places: int) -> int:
    """How many places of a batch are random windows."""
    if settings.mode != "mixed":
        return places if settings.mode == "random" else 0
    if places < 2:
        raise EventDataError(
            "Mixed sampling needs a batch of at least 2: one stream and one random window. Raise "
            "train.total_batch_size, or choose the sampling 'streaming' or 'random'."
        )
    return min(max(round(places * settings.random_share), 1), places - 1)


def is_stream(place: int, streams: int, places: int) -> bool:
    """Whether a place of the batch is one of the streams, which are spread evenly over it."""
    return (place + 1) * streams // places > place * streams // places


def training_spans(sequences: Sequences, settings: SamplingSettings, streams: int) -> list[Span]:
    """What is streamed; see :class:`TrainingSchedule`."""
    length, spans = sequences.length, []
    for number, (recording, labelled) in enumerate(
        zip(sequences.recordings, sequences.labelled, strict=True)
    ):
        if settings.play_gaps:
            found = [sampling.whole_span(labelled, recording.num_steps, length)]
        else:
            found = sampling.labelled_spans(labelled, length)
        spans += [Span(number, start, stop) for start, stop in found if stop > start]
    if not spans:
        raise EventDataError(_nothing(sequences, "Set play_gaps=True to stream them nevertheless."))
    parts = sampling.enough_spans(spans, length, streams)
    used = len({span.recording for span in spans})
    logger.info(
        f"{used} of {len(sequences.recordings)} recordings are streamed in {len(parts)} spans, "
        f"{sum(span.chunks(length) for span in parts)} sequences of {length} steps per epoch; "
        f"{len(sequences.recordings) - used} have no labelled step."
    )
    if len(parts) > len(spans) or len(parts) < streams:
        logger.warning(
            f"There are {len(spans)} spans for {streams} streams: the longest were halved, which "
            f"makes {len(parts)}, and the recurrent state begins anew with each."
        )
    return parts


def training_windows(sequences: Sequences, stride: int) -> list[Span]:
    """The windows of random access; see :func:`eventcam.sampling.spans.windows`."""
    found = [
        Span(number, *window)
        for number, recording in enumerate(sequences.recordings)
        for window in sampling.windows(
            sequences.labelled[number], recording.num_steps, sequences.length, stride
        )
    ]
    if not found:
        raise EventDataError(_nothing(sequences, "Streaming with play_gaps=True can do without."))
    logger.info(
        f"{len(found)} random windows of {sequences.length} steps; the recordings have "
        f"{len(sequences)} labelled steps."
    )
    return found


def _nothing(sequences: Sequences, advice: str) -> str:
    return (
        f"None of the {len(sequences.recordings)} recordings has a labelled step, so there is "
        f"nothing to learn from. Check the labels and the class map. {advice}"
    )
