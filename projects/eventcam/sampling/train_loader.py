"""The training loader of event sequences: endless, resumable, repeatable."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from eventcam.errors import EventDataError
from eventcam.sampling.schedule import SamplingSettings, TrainingSchedule
from eventcam.sampling.sequences import Chunk, Recording, Sample, Sequences
from eventcam.sampling.workers import SampleLoader, process

logger = logging.getLogger(__name__)
_REPORT_SAMPLES = 1000  # before the first line about lost boxes, and at least between two


class _MicroBatches:
    """Batch sampler: this process's micro-batches from optimisation step ``start`` on."""

    def __init__(self, schedule: TrainingSchedule, places: range, micro: int) -> None:
        self.schedule, self.places, self.micro, self.start = schedule, places, micro, 0

    def __iter__(self) -> Iterator[list[Chunk]]:
        for chunks in self.schedule.steps(self.start):
            for first in range(self.places.start, self.places.stop, self.micro):
                yield chunks[first : first + self.micro]


class SequenceTrainLoader:
    """Per optimisation step, this process's share of the effective batch as micro-batches.

    Iterating never ends, and a new iteration goes on where the last one stopped. What step k gives
    depends on the data, the settings, the batch size and k only: not on the workers, nor on how
    the batch is divided into processes and micro-batches. A place of the batch is a stream: it
    stays in the same process and in the same place of the same micro-batch.

    Args:
        schedule: the order.
        places: those of the batch that are this process's share.
        micro: samples per forward pass; divides the share.
        num_workers: worker processes; 0 loads in this one.

    Attributes:
        samples_seen: samples that were handed out, by all processes together.
        dropped_boxes: boxes that augmentation left without area, in this process's samples.
        clipped_boxes: boxes that it cut at the border, likewise. Both are logged, about once per
            epoch.
    """

    def __init__(
        self, schedule: TrainingSchedule, places: range, micro: int, num_workers: int = 0
    ) -> None:
        self.schedule, self._steps_per_batch = schedule, len(places) // micro
        self.samples_seen = self.dropped_boxes = self.clipped_boxes = 0
        self._next_report = _REPORT_SAMPLES
        self._batches = _MicroBatches(schedule, places, micro)
        self._loader = SampleLoader(schedule.sequences, self._batches, num_workers)

    @property
    def epoch(self) -> float:
        """Passes over the data so far; with mixed sampling, of the streams."""
        return self.samples_seen / self.schedule.samples_per_epoch

    def seek(self, samples_seen: int) -> None:
        """Set the place, a whole number of steps; the next iteration (``iter``) starts there."""
        total = self.schedule.places
        if samples_seen < 0 or samples_seen % total:
            raise EventDataError(
                f"A run with total_batch_size={total} cannot be at sample {samples_seen}: that is "
                f"no whole number of steps. Resume with the batch size it was started with."
            )
        self.samples_seen, self._next_report = samples_seen, samples_seen + _REPORT_SAMPLES

    def __iter__(self) -> Iterator[list[list[Sample]]]:
        self._batches.start = self.samples_seen // self.schedule.places
        micro_batches = iter(self._loader)
        while True:
            step = [next(micro_batches) for _ in range(self._steps_per_batch)]
            self.samples_seen += self.schedule.places
            self._count_boxes(step)
            yield step

    def _count_boxes(self, step: list[list[Sample]]) -> None:
        for sample in (sample for batch in step for sample in batch):
            self.dropped_boxes += sample["dropped_boxes"]
            self.clipped_boxes += sample["clipped_boxes"]
        if self.samples_seen >= self._next_report:
            self._next_report += max(self.schedule.samples_per_epoch, _REPORT_SAMPLES)
            logger.info(
                f"Augmentation has cut {self.clipped_boxes} boxes at the border and left "
                f"{self.dropped_boxes} without area, which are no targets, in this process so far."
            )


def build_sequence_train_loader(
    recordings: Sequence[Recording],
    sampling: SamplingSettings,
    sequence_length: int,
    total_batch_size: int,
    micro_batch_size: int,
    num_workers: int = 0,
    known_empty: bool = True,
    rank: int | None = None,
    world_size: int | None = None,
) -> SequenceTrainLoader:
    """The training loader of one process.

    Args:
        recordings: of one split, in their order.
        sampling: how sequences are chosen and augmented.
        sequence_length: steps of a sample.
        total_batch_size: samples per optimisation step over all processes.
        micro_batch_size: samples per forward pass of a process; at most its share is used.
        num_workers: worker processes of this process.
        known_empty: whether steps known to be empty count as labelled.
        rank: of this process; asked from torch.distributed if None, like ``world_size``.
        world_size: number of processes.

    Raises:
        EventDataError: batch sizes do not divide, or the data cannot be used.
    """
    rank, world_size = process(rank, world_size)
    share = _share(total_batch_size, micro_batch_size, world_size)
    places = range(rank * share, (rank + 1) * share)
    sequences = Sequences(recordings, sequence_length, known_empty)
    schedule = TrainingSchedule(sequences, sampling, total_batch_size)
    return SequenceTrainLoader(schedule, places, min(micro_batch_size, share), num_workers)


def _share(total: int, micro: int, world_size: int) -> int:
    """Samples per step of one process."""
    local = total // max(world_size, 1)
    if min(total, micro, world_size) < 1 or total % world_size or local % min(micro, local):
        raise EventDataError(
            f"A batch of {total} (train.total_batch_size) cannot be divided among {world_size} "
            f"processes in micro-batches of {micro} (train.micro_batch_size). Choose a multiple of "
            f"{world_size}, and a micro-batch that divides each process's part of it."
        )
    return local
