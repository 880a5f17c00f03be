"""Too little memory on the GPU: smaller micro-batches for the same step, or what to do."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from detectron2.utils import comm

from smalldet.engine.faults.step_start import Batch

logger = logging.getLogger(__name__)

ON_OOM = ("stop", "halve")
_SAVES = (
    "train.amp.enabled=true and activation checkpointing (model.backbone.checkpoint=true for the "
    "OFAT line) save memory"
)
IN_THE_OPTIMIZER = (
    "The GPU is out of memory in the optimizer's step, where train.micro_batch_size has no part. "
    f"End other programs on it, or train less of the model. {_SAVES} before it."
)


def in_micro_batches(micro_batches: list[Batch], most: int) -> list[Batch]:
    """The same samples in the same order, at most ``most`` at a time; 0 leaves them as they are."""
    if not most or max(map(len, micro_batches)) <= most:
        return micro_batches
    samples = list(chain.from_iterable(micro_batches))
    return [samples[first : first + most] for first in range(0, len(samples), most)]


def smaller(micro_batches: list[Batch], on_oom: str, error: torch.OutOfMemoryError) -> int:
    """What a micro-batch may have after ``error``: half of what it had, or less, so that it divides
    the samples of the step.

    Raises:
        ValueError: ``on_oom`` is not "halve", or a micro-batch has one sample already.
    """
    samples, size = sum(map(len, micro_batches)), max(map(len, micro_batches))
    less = next((n for n in range(size // 2, 0, -1) if samples % n == 0), 0)
    found = f"The GPU is out of memory: a micro-batch of {size} did not fit."
    if not less:
        raise ValueError(f"{found} {_SAVES}; so do smaller inputs.") from error
    if on_oom == "halve":
        logger.warning(f"{found} The step is repeated, and the run goes on, with {less}.")
        return less
    advice = f"Try train.micro_batch_size={less}; the effective batch stays the same."
    if comm.get_world_size() == 1:
        advice += " A run that has checkpoints goes on with --resume train.on_oom=halve."
    raise ValueError(f"{found} {advice} {_SAVES}, too.") from error


@contextmanager
def in_evaluation(split: str, size: int) -> Iterator[None]:
    """Have an evaluation that does not fit end in what to try.

    Args:
        split: that is scored.
        size: samples that its loader gives at a time.

    Raises:
        ValueError: the GPU is out of memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        found = f"The GPU is out of memory in the evaluation on {split}: {size} at once do not fit."
        if size > 1:
            advice = (
                f"Try dataloader.{split}.batch_size={size // 2}, on which scores do not depend; a "
                "run that has checkpoints goes on with --resume and that."
            )
        else:
            advice = (
                "End other programs on it and go on with --resume; smaller inputs need less. Where "
                "scores alone are missing, train.device=cpu computes them, slowly, without it."
            )
        raise ValueError(f"{found} {advice}") from error


def check_halving(on_oom: str) -> None:
    """ValueError where micro-batches cannot be halved: the others would wait for this process."""
    if on_oom == "halve" and comm.get_world_size() > 1:
        raise ValueError(
            f"train.on_oom=halve works in one process, and here are {comm.get_world_size()}. "
            "Lower train.micro_batch_size instead; the effective batch stays the same."
        )


def release() -> None:
    """Give back what a failed step had on the GPU, and let the peak be that of steps that fit.

    Its error must be gone by then.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
