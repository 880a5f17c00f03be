"""Losses whose divisor is known at the end of an optimisation step only.

A step may have several calls (accumulation) and processes; the divisor, such as the positive cells
of all of them, is counted on the way. The mean of each call's own mean would be another number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.distributed as dist
from torch import Tensor, nn


class StepNormalised(ABC):
    """A model, or a part of one, whose losses are sums between begin and end of a step.

    So: ``begin_step()``; forward and backward passes with the losses added up unweighted; then
    gradients and logged losses times ``end_step()``. With DistributedDataParallel's mean over
    processes that equals one call with all samples. Outside of a step losses are divided by what
    their own call holds.
    """

    @abstractmethod
    def begin_step(self) -> None:
        """From here to :meth:`end_step`, losses are sums."""

    @abstractmethod
    def end_step(self) -> Tensor:
        """What to multiply the step's gradients by (scalar); every process must call it.

        Raises:
            RuntimeError: there was no ``begin_step()``.
        """


def step_normalised_part(model: nn.Module) -> StepNormalised | None:
    """The first step-normalised module of a model (a detector before its head), or None."""
    return next((m for m in model.modules() if isinstance(m, StepNormalised)), None)


class StepCounts:
    """Counts of a step over its calls and processes; the first one is the divisor."""

    def __init__(self) -> None:
        self._counts: Tensor | None = None  # None outside of a step

    @property
    def counting(self) -> bool:
        """Whether a step has begun."""
        return self._counts is not None

    def begin(self, device: torch.device, entries: int = 1) -> None:
        """Start from zeros."""
        self._counts = torch.zeros(entries, dtype=torch.long, device=device)

    def add(self, counts: Tensor | int) -> None:
        """Count (entries,) more; only between :meth:`begin` and :meth:`end`."""
        assert self._counts is not None
        self._counts = self._counts + counts

    def end(self) -> tuple[Tensor, Tensor]:
        """Processes / first count (at least 1), a scalar; and the counts of all processes.

        Raises:
            RuntimeError: there was no :meth:`begin`.
        """
        if self._counts is None:
            raise RuntimeError("end_step() without begin_step(). Call that before the losses.")
        counts, self._counts = self._counts, None
        processes = 1
        if dist.is_available() and dist.is_initialized():
            processes = dist.get_world_size()
            dist.all_reduce(counts)
        return processes / counts[0].clamp(min=1), counts
