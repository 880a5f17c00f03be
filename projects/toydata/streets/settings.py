"""The settings of one generated recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toydata.folder import GeneratedDataError

LABELS_PER_SECOND = 30  # as in the published recordings, whose preparation knows 30 and 60 Hz only

_SMALLEST_SIDE_PX = 64
_LARGEST_SIDE_PX = 4096


@dataclass(frozen=True)
class SceneSettings:
    """One recording: together with a seed, equal settings give equal events and labels.

    Attributes:
        width: of the sensor, px.
        height: of the sensor, px.
        seconds: length of the recording.
        frames_per_second: rate of the simulation, a multiple of the label rate; the sensor model
            interpolates in between.
        density: how crowded the street is; 1 gives four to eight objects in view.
        threshold: change of log intensity that makes one event, mean over the pixels.
        mismatch: standard deviation of the thresholds over the pixels, relative to their mean.
        noise_hz: rate of events without a cause, per pixel, mean over the pixels.
        flicker: amplitude of the common change of log intensity (clouds, exposure).
        lull: seconds in the middle part of the recording in which the road users have dissolved,
            so that nothing is labelled; 0 for none.
    """

    width: int = 240
    height: int = 180
    seconds: float = 3.0
    frames_per_second: int = 240
    density: float = 1.0
    threshold: float = 0.22
    mismatch: float = 0.04
    noise_hz: float = 0.15
    flicker: float = 0.015
    lull: float = 0.0

    def __post_init__(self) -> None:
        sides = (self.width, self.height)
        if min(sides) < _SMALLEST_SIDE_PX or max(sides) > _LARGEST_SIDE_PX:
            raise GeneratedDataError(
                f"A generated recording has sides of {_SMALLEST_SIDE_PX} to {_LARGEST_SIDE_PX} px; "
                f"asked for was {self.width}x{self.height}."
            )
        if not 0.2 <= self.seconds <= 600:
            raise GeneratedDataError(
                f"A generated recording lasts 0.2 to 600 s; asked for was {self.seconds} s."
            )
        if self.frames_per_second < 60 or self.frames_per_second % LABELS_PER_SECOND:
            raise GeneratedDataError(
                f"frames_per_second is a multiple of {LABELS_PER_SECOND} and at least 60; "
                f"asked for was {self.frames_per_second}."
            )
        if not 0.02 <= self.threshold <= 2 or not 0 <= self.mismatch <= 0.3:
            raise GeneratedDataError(
                f"The threshold lies in 0.02 to 2 and the mismatch in 0 to 0.3; asked for was "
                f"{self.threshold} and {self.mismatch}."
            )
        if min(self.density, self.noise_hz, self.flicker, self.lull) < 0:
            raise GeneratedDataError(
                f"density, noise_hz, flicker and lull are not negative; asked for was {self}."
            )
        if self.lull > self.seconds / 3:
            raise GeneratedDataError(
                f"A lull takes a third of the recording at most; asked for were {self.lull} of "
                f"{self.seconds} s."
            )

    @property
    def frames(self) -> int:
        """Number of simulated steps; the step ``i`` ends at ``(i + 1) / frames_per_second`` s."""
        return round(self.seconds * self.frames_per_second)

    @property
    def times(self) -> np.ndarray:
        """(frames + 1,) seconds since the start."""
        return np.arange(self.frames + 1) / self.frames_per_second

    def time_us(self, frame: int) -> float:
        """Time of a frame since the start, microseconds (whole ones only at some frames)."""
        return frame * 1e6 / self.frames_per_second
