"""Recordings in memory, with the protocol of prepared ones, for the tests of sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from eventcam.sampling.schedule import SamplingSettings
from eventcam.sampling.sequences import Sample
from eventcam.sampling.train_loader import SequenceTrainLoader, build_sequence_train_loader

CHANNELS, HEIGHT, WIDTH = 20, 12, 16


@dataclass
class FakeRecording:
    """Step s shows the value s everywhere; its one box is (1, 2, 4 + s % 8, 7)."""

    name: str
    num_steps: int
    frames: Sequence[int] = ()
    empty: Sequence[int] | None = None
    shape: tuple[int, int, int] = (CHANNELS, HEIGHT, WIDTH)
    dtype: np.dtype = np.dtype(np.uint8)  # noqa: RUF009
    closed: int = field(default=0)

    def __post_init__(self) -> None:
        self.frame_steps = np.array(self.frames, np.int64)
        self.known_empty_steps = None if self.empty is None else np.array(self.empty, np.int64)
        self.timestamps_us = 50_000 * np.arange(1, self.num_steps + 1)
        self.num_frames = len(self.frames)

    def events(self, start: int, stop: int) -> np.ndarray:
        assert 0 <= start < stop <= self.num_steps
        values = np.arange(start, stop, dtype=np.uint8).reshape(-1, 1, 1, 1)
        return np.broadcast_to(values, (stop - start, *self.shape)).copy()

    def boxes(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        step = self.frames[frame]
        return np.array([[1, 2, 4 + step % 8, 7]], np.float32), np.array([step % 3])

    def close(self) -> None:
        self.closed += 1


def dataset(lengths: Sequence[int] = (23, 9, 40, 12, 31)) -> list[FakeRecording]:
    """Recordings with a box at every even step, but for every sixth, which is known to be empty."""
    recordings = []
    for number, steps in enumerate(lengths):
        even = range(0, steps, 2)
        frames, empty = [s for s in even if s % 6], [s for s in even if s % 6 == 0]
        recordings.append(FakeRecording(f"r{number}", steps, frames, empty))
    return recordings


def train_loader(
    mode: str = "streaming", total: int = 4, micro: int = 2, data: Any = None, **options: Any
) -> SequenceTrainLoader:
    """A loader of sequences of 3 steps."""
    build = {
        key: options.pop(key)
        for key in ("num_workers", "rank", "world_size", "known_empty")
        if key in options
    }
    settings = SamplingSettings(mode=mode, **options)
    return build_sequence_train_loader(data or dataset(), settings, 3, total, micro, **build)


def steps(loader: SequenceTrainLoader, count: int) -> list[list[list[Sample]]]:
    return list(islice(loader, count))


def flat(batches: Any) -> Iterator[Sample]:
    """All samples of nested lists."""
    if isinstance(batches, dict):
        yield batches
        return
    for part in batches:
        yield from flat(part)


def same(first: Any, second: Any) -> bool:
    """Equal nested lists, dicts and tensors, types included."""
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second
