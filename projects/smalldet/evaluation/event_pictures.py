"""Pictures of single steps of event recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalldet.evaluation.gallery import Picture

BACKGROUND, BRIGHTER, DARKER = (13, 17, 23), (88, 166, 255), (255, 160, 64)
"""RGB; blue and orange stay apart for colour-blind eyes."""
_FULL = 0.7  # events on a pixel after which its colour is 63 % there


class ReadableRecording(Protocol):
    """What is asked of a recording to draw it."""

    num_steps: int
    downsample: str  # "none": at the resolution of the sensor; anything else: at half of it

    def events(self, start: int, stop: int) -> NDArray[np.uint8]: ...

    def close(self) -> None: ...


def step_picture(recordings: Sequence[ReadableRecording], image_id: int) -> Picture:
    """The events of a step (H, W, 3), in pixels of the sensor.

    Args:
        recordings: Of the split, in the order in which image ids count their steps.
        image_id: Of the step.
    """
    ends = np.cumsum([recording.num_steps for recording in recordings])
    row = int(np.searchsorted(ends, image_id, side="right"))
    recording = recordings[row]
    step = image_id - int(ends[row]) + recording.num_steps
    picture = histogram_picture(recording.events(step, step + 1)[0])
    recording.close()
    factor = 1 if recording.downsample == "none" else 2
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def histogram_picture(histogram: NDArray[np.uint8]) -> Picture:
    """A stacked histogram (2 * bins, H, W), darker events first, as a picture (H, W, 3).

    The more events on a pixel, the stronger its colour.
    """
    bins = len(histogram) // 2
    off, on = (part.sum(axis=0, dtype=np.float64) for part in (histogram[:bins], histogram[bins:]))
    share = (on / np.maximum(on + off, 1))[..., None]
    strength = 1 - np.exp(-(on + off) / _FULL)[..., None]
    colour = share * np.array(BRIGHTER) + (1 - share) * np.array(DARKER)
    return np.rint(BACKGROUND + strength * (colour - BACKGROUND)).astype(np.uint8)
