"""What the loaders of event sequences share: processes, workers, and the way back from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader

from eventcam.sampling.sequences import Sample, Sequences


def process(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Rank and number of processes, asked from torch.distributed where None."""
    running = distributed.is_available() and distributed.is_initialized()
    if rank is None:
        rank = distributed.get_rank() if running else 0
    if world_size is None:
        world_size = distributed.get_world_size() if running else 1
    return rank, world_size


class SampleLoader:
    """Lists of samples from worker processes.

    Args:
        sequences: what a worker loads from.
        batches: iterable of lists of chunks.
        num_workers: 0 loads in this process.
    """

    def __init__(self, sequences: Sequences, batches: Any, num_workers: int) -> None:
        # A generator of its own: each iteration draws a seed, which else would come from the
        # global generator and make the model's randomness depend on how often a run was resumed.
        self._loader = DataLoader(
            sequences,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=_from_worker,
            persistent_workers=num_workers > 0,
            generator=torch.Generator().manual_seed(0),
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[list[Sample]]:
        for samples in self._loader:
            yield [_mapped(sample, np.ndarray, torch.from_numpy) for sample in samples]


def _from_worker(samples: list[Sample]) -> list[Sample]:
    """Small tensors as arrays: each tensor from a worker keeps a file open until it is freed."""
    return [_mapped(sample, torch.Tensor, torch.Tensor.numpy) for sample in samples]


def _mapped(sample: Sample, kind: type, change: Callable[[Any], Any]) -> Sample:
    """The sample with ``change`` applied to all values of a kind, but for the large one."""

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [changed(entry) for entry in value]
        return change(value) if isinstance(value, kind) else value

    return {key: value if key == "events" else changed(value) for key, value in sample.items()}
