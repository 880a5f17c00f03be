"""Prepared recordings as samples: a stretch of steps with what is known about each of them.

A sample is a dict of plain tensors and values; T = ``length`` steps, n boxes of a step:

- ``events``: (T, C, H, W), px of the network input: histograms, uint8, or voxel grids, float16.
- ``boxes``, ``classes``: T entries each. None = unlabelled; else (n, 4) float32 xyxy_abs, px of
  ``events``, and (n,) int64. Shapes (0, 4) and (0,) = labelled, and known to show no object.
- ``image_ids``: (T,) int64. A labelled step is an image; its id is the place of the step in the
  split, counted over all steps of all recordings, so that it depends on nothing else. -1 where
  unlabelled.
- ``timestamps_us``: (T,) int64, -1 where padded.
- ``padded``: (T,) bool. Steps after the end of a recording: zeros, unlabelled.
- ``is_first``: bool, the recurrent state begins anew with this sample.
- ``stream``: int, which state the sample continues; always in the same place of a batch.
- ``dropped_boxes``: int, boxes that augmentation left without area.
- ``clipped_boxes``: int, boxes that augmentation cut at the border of the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from eventcam.augment.sequence import BoxCounts, Draw, augment
from eventcam.errors import EventDataError

Sample = dict[str, Any]
_UNKNOWN = -1
_MAX_OPEN = 64  # recordings that a worker keeps open, well below the usual limit of open files


class Recording(Protocol):
    """What is needed of a prepared recording, as of
    :class:`eventcam.io.rvt_recording.RvtRecording`.

    Attributes:
        name: of the recording.
        num_steps: representations.
        shape: channels, height, width; ``dtype``: of a representation.
        timestamps_us: (num_steps,) int64.
        frame_steps: (F,) int64, sorted; the steps with boxes.
        known_empty_steps: (K,) int64, the steps known to show no object; None if not known.
    """

    name: str
    num_steps: int
    shape: tuple[int, int, int]
    dtype: np.dtype
    timestamps_us: np.ndarray
    frame_steps: np.ndarray
    known_empty_steps: np.ndarray | None

    def events(self, start: int, stop: int) -> np.ndarray: ...

    def boxes(self, frame: int) -> tuple[np.ndarray, np.ndarray]: ...

    def close(self) -> None: ...


class Chunk(NamedTuple):
    """Which sample to load. ``start == stop`` is padding: a stream without recordings left."""

    recording: int
    start: int
    stop: int
    is_first: bool
    stream: int
    drawn: Draw | None = None


class Sequences(Dataset):
    """Samples of prepared recordings, by :class:`Chunk`.

    Args:
        recordings: of one split, in a fixed order.
        length: T, steps of a sample.
        known_empty: whether steps known to be empty count as labelled. False is the published way.

    Attributes:
        labelled: per recording, its labelled steps (L,), sorted.

    Raises:
        EventDataError: no recordings, of different sizes, or a length below 1.
    """

    def __init__(
        self, recordings: Sequence[Recording], length: int, known_empty: bool = True
    ) -> None:
        _check(recordings, length)
        self.recordings, self.length = list(recordings), length
        self.labelled = [_labelled_steps(r, known_empty) for r in recordings]
        self._first_ids = np.cumsum([0, *(r.num_steps for r in recordings)]).tolist()
        self._open: list[int] = []
        for recording in recordings:
            recording.close()  # workers open their own

    def __len__(self) -> int:
        return sum(map(len, self.labelled))

    def __getitem__(self, chunk: Chunk) -> Sample:
        recording, real = self.recordings[chunk.recording], chunk.stop - chunk.start
        events = torch.from_numpy(self._events(chunk))
        boxes, classes = self._labels(chunk)
        counts = BoxCounts(dropped=0, clipped=0)
        if chunk.drawn is not None:
            events, boxes, classes, counts = augment(events, boxes, classes, chunk.drawn)
        missing = self.length - real
        known = [b is not None for b in boxes]
        ids = np.arange(chunk.start, chunk.stop) + self._first_ids[chunk.recording]
        times = recording.timestamps_us[chunk.start : chunk.stop].copy()
        return {
            "events": _padded(events, missing),
            "boxes": boxes + [None] * missing,
            "classes": classes + [None] * missing,
            "image_ids": _padded(np.where(known, ids, _UNKNOWN), missing, _UNKNOWN),
            "timestamps_us": _padded(times, missing, _UNKNOWN),
            "padded": torch.arange(self.length) >= real,
            "is_first": chunk.is_first,
            "stream": chunk.stream,
            "dropped_boxes": counts.dropped,
            "clipped_boxes": counts.clipped,
        }

    def _events(self, chunk: Chunk) -> np.ndarray:
        """(steps, C, H, W), from a file that stays open for the next time."""
        recording = self.recordings[chunk.recording]
        if chunk.start == chunk.stop:
            return np.zeros((0, *recording.shape), recording.dtype)
        if chunk.recording in self._open:
            self._open.remove(chunk.recording)
        self._open.append(chunk.recording)
        if len(self._open) > _MAX_OPEN:
            self.recordings[self._open.pop(0)].close()
        return recording.events(chunk.start, chunk.stop)

    def _labels(self, chunk: Chunk) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Boxes and classes of each step."""
        recording, labelled = self.recordings[chunk.recording], self.labelled[chunk.recording]
        boxes: list[Tensor | None] = [None] * (chunk.stop - chunk.start)
        classes = boxes.copy()
        first, stop = np.searchsorted(labelled, [chunk.start, chunk.stop])
        for step in labelled[first:stop].tolist():
            frame = int(np.searchsorted(recording.frame_steps, step))
            found = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
            if frame < len(recording.frame_steps) and recording.frame_steps[frame] == step:
                found = recording.boxes(frame)
            boxes[step - chunk.start] = torch.from_numpy(found[0])
            classes[step - chunk.start] = torch.from_numpy(found[1])
        return boxes, classes


def _labelled_steps(recording: Recording, known_empty: bool) -> np.ndarray:
    empty = recording.known_empty_steps if known_empty else None
    return np.union1d(recording.frame_steps, [] if empty is None else empty).astype(np.int64)


def _padded(given: Tensor | np.ndarray, missing: int, fill: int = 0) -> Tensor:
    """(T, ...) with ``missing`` more entries of value ``fill`` at the end."""
    values = torch.as_tensor(given)
    if missing == 0:
        return values.contiguous()
    return torch.cat([values, values.new_full((missing, *values.shape[1:]), fill)])


def _check(recordings: Sequence[Recording], length: int) -> None:
    if length < 1:
        raise EventDataError(f"A sequence has at least 1 step; sequence_length={length} was given.")
    if not recordings:
        raise EventDataError(
            "The split holds no prepared recording. Check the folder, or prepare the recordings "
            "with `tools/prepare_events.py RAW OUT`. An evaluation (--eval-only) can do without a "
            "split: dataloader.valid=null or dataloader.test=null."
        )
    sizes = {recording.shape: recording.name for recording in recordings}
    if len(sizes) > 1:
        raise EventDataError(
            f"The recordings have different sizes (channels, height, width): {sizes}. All of one "
            f"split must be alike: prepare them with the same settings."
        )
