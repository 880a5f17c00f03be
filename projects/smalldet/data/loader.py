"""Loaders for training (endless, resumable, repeatable) and evaluation (each image once)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from smalldet.data.catalog import records_of
from smalldet.data.errors import DataError
from smalldet.data.sample_stream import BatchPlan, SampleStream

Sample = dict[str, Any]
Mapper = Callable[[Sample], Sample]

logger = logging.getLogger(__name__)


class MappedRecords(Dataset):
    """Mapped samples by counter; ``stream`` says which record a counter means, if not itself."""

    def __init__(
        self, records: Sequence[Sample], mapper: Mapper, stream: SampleStream | None = None
    ) -> None:
        self.records, self.mapper, self.stream = records, mapper, stream

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, counter: int) -> Sample:
        index = counter if self.stream is None else self.stream.index(counter)
        return self.mapper({**self.records[index], "sample_counter": counter})


class _Places:
    """Batch sampler: this process's micro-batches from ``start`` on."""

    def __init__(self, plan: BatchPlan) -> None:
        self.plan, self.start = plan, 0

    def __iter__(self) -> Iterator[list[int]]:
        start = self.start
        while True:
            yield from self.plan.step(start)
            start += self.plan.total


class TrainLoader:
    """Per optimisation step, this process's share of the effective batch as micro-batches.

    Iterating never ends, and a new iteration goes on where the last one stopped. The order
    depends on the seed and ``samples_seen`` only. The global random generators are not touched.

    Args:
        records: data set entries in Detectron2's format.
        mapper: called in the workers with an entry that has ``sample_counter``.
        plan: the division into processes and micro-batches.
        num_workers: worker processes; 0 loads in this one.
        seed: of the order.

    Attributes:
        samples_seen: places of the stream that were handed out, by all processes together.
        dropped_boxes: boxes that augmentation left too little of, in this process's samples.
    """

    def __init__(
        self,
        records: Sequence[Sample],
        mapper: Mapper,
        plan: BatchPlan,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        if not records:
            raise DataError("The training split holds no image. Check dataset.root.")
        self.plan = plan
        self.samples_seen = self.dropped_boxes = 0
        self._places = _Places(plan)
        self._loader = _data_loader(
            MappedRecords(records, mapper, SampleStream(len(records), seed)),
            num_workers,
            batch_sampler=self._places,
            persistent_workers=num_workers > 0,
        )

    def seek(self, samples_seen: int) -> None:
        """Set the place in the stream; the next iteration (``iter``) starts there."""
        if samples_seen < 0:
            raise DataError(f"The place in the sample stream cannot be negative: {samples_seen}.")
        self.samples_seen = samples_seen

    def __iter__(self) -> Iterator[list[list[Sample]]]:
        self._places.start = self.samples_seen
        micro_batches = iter(self._loader)
        while True:
            step = [next(micro_batches) for _ in range(self.plan.micro_batches)]
            self.samples_seen += self.plan.total
            self._count_dropped(step)
            yield step

    def _count_dropped(self, step: list[list[Sample]]) -> None:
        dropped = sum(sample.get("dropped_boxes", 0) for batch in step for sample in batch)
        if dropped and not self.dropped_boxes:
            logger.warning("Augmentation leaves too little of some boxes; they are no targets.")
        self.dropped_boxes += dropped


def build_train_loader(
    dataset: str,
    mapper: Mapper,
    total_batch_size: int,
    micro_batch_size: int,
    num_workers: int = 0,
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
) -> TrainLoader:
    """The training loader of one process.

    Args:
        dataset: registered name of the images, as ``heads_train``.
        mapper: see :class:`smalldet.data.mapper.SeededMapper`.
        total_batch_size: images per optimisation step over all processes.
        micro_batch_size: images per forward pass of a process; at most its share is used.
        num_workers: worker processes of this process.
        seed: of the sample order.
        rank: of this process; asked from Detectron2 if None, like ``world_size``.
        world_size: number of processes.

    Raises:
        DataError: batch sizes do not divide, or the data cannot be used.
    """
    plan = BatchPlan(
        total_batch_size,
        micro_batch_size,
        comm.get_rank() if rank is None else rank,
        comm.get_world_size() if world_size is None else world_size,
    )
    return TrainLoader(records_of(dataset), mapper, plan, num_workers, seed)


def build_eval_loader(
    dataset: str,
    mapper: Mapper,
    batch_size: int = 1,
    num_workers: int = 0,
    limit: int | None = None,
    rank: int | None = None,
    world_size: int | None = None,
) -> DataLoader:
    """Lists of mapped samples; every image once, by one process, without padding.

    Args:
        dataset: registered name of the images, as ``heads_valid``.
        mapper: its targets, if it gives any, are kept.
        batch_size: images per list.
        num_workers: worker processes of this process.
        limit: only the first so many images (by image id).
        rank: of this process; asked from Detectron2 if None, like ``world_size``.
        world_size: number of processes.
    """
    records = records_of(dataset)[:limit]
    places = shard(
        len(records),
        comm.get_rank() if rank is None else rank,
        comm.get_world_size() if world_size is None else world_size,
    )
    samples = MappedRecords(records, mapper)
    return _data_loader(samples, num_workers, sampler=places, batch_size=batch_size)


def shard(total: int, rank: int, world_size: int) -> range:
    """The contiguous part of ``range(total)`` for one process; parts differ by at most one."""
    return range(total * rank // world_size, total * (rank + 1) // world_size)


def _data_loader(dataset: Dataset, num_workers: int, **options: Any) -> DataLoader:
    # A generator of its own: each iteration draws a seed, which else would come from the global
    # generator and make the model's randomness depend on how often a run was resumed.
    generator = torch.Generator().manual_seed(0)
    return DataLoader(
        dataset, num_workers=num_workers, generator=generator, collate_fn=_as_list, **options
    )


def _as_list(samples: list[Sample]) -> list[Sample]:
    return samples
