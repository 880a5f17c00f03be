"""The order of training samples: one endless stream that everything else is cut from.

Sample n of a data set of N images belongs to epoch ``n // N``; within an epoch every image comes
once. The order depends on the seed and n alone, so a run may stop anywhere, and continue with
another number of workers, processes or images per micro-batch, and still see the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from smalldet.data.errors import DataError

_WORD = 0xFFFFFFFF


@dataclass
class SampleStream:
    """Image index by place in the stream.

    Attributes:
        images: N, how many there are.
        seed: of the order.
    """

    images: int
    seed: int
    _epoch: int = field(default=-1, init=False, repr=False)
    _order: np.ndarray = field(default_factory=lambda: np.empty(0, int), init=False, repr=False)

    def index(self, counter: int) -> int:
        """The image at place ``counter``."""
        epoch, place = divmod(counter, self.images)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_order(self.images, self.seed, epoch)
        return int(self._order[place])


def epoch_order(images: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation (images,) of one epoch.

    RandomState, because numpy promises that its stream never changes between versions.
    """
    words = [seed & _WORD, (seed >> 32) & _WORD, epoch & _WORD]
    return np.random.RandomState(words).permutation(images)


@dataclass(frozen=True)
class BatchPlan:
    """How an effective batch is divided among processes and micro-batches.

    Attributes:
        total: images per optimisation step, over all processes.
        micro: images per forward pass of one process; more than its share means its share.
        rank: of this process.
        world_size: number of processes.
    """

    total: int
    micro: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if min(self.total, self.micro, self.world_size) < 1:
            raise DataError(
                f"Batch sizes must be at least 1; found were train.total_batch_size={self.total} "
                f"and train.micro_batch_size={self.micro}."
            )
        if self.total % self.world_size:
            raise DataError(
                f"train.total_batch_size={self.total} cannot be divided among {self.world_size} "
                f"processes: choose a multiple of {self.world_size}, or another number of "
                f"processes."
            )
        if self.local % min(self.micro, self.local):
            divisors = [n for n in range(1, self.local + 1) if self.local % n == 0]
            raise DataError(
                f"train.micro_batch_size={self.micro} does not divide the {self.local} images that "
                f"each process has per step (train.total_batch_size={self.total}, "
                f"{self.world_size} processes): choose one of {divisors}."
            )

    @property
    def local(self) -> int:
        """Images per step of one process."""
        return self.total // self.world_size

    @property
    def micro_batches(self) -> int:
        """Forward passes per step of one process."""
        return self.local // min(self.micro, self.local)

    def step(self, start: int) -> list[list[int]]:
        """Stream places of this process's micro-batches in the step that begins at ``start``."""
        size = self.local // self.micro_batches
        first = start + self.rank * self.local
        return [
            list(range(first + part * size, first + (part + 1) * size))
            for part in range(self.micro_batches)
        ]
