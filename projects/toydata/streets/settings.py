"""The settings of one generated recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eventcam.class_maps import ETRAM_RAW
from toydata.folder import GeneratedDataError

_ALSO_CALLED = {"bicycle": "two-wheeler", "motorbike": "two-wheeler"}


@dataclass(frozen=True)
class SceneSettings:
    """One recording: together with a seed, equal settings give equal events and labels.

    Attributes:
        width: of the sensor, px.
        height: of the sensor, px.
        seconds: length of the recording.
        frames_per_second: rate of the simulation, a multiple of the label rate; the sensor model
            interpolates in between.
        labels_per_second: as often as that boxes are drawn.
        classes: names of what is labelled, by raw class id; road users of other kinds are not.
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
    labels_per_second: int = 30
    classes: tuple[str, ...] = ETRAM_RAW
    density: float = 1.0
    threshold: float = 0.22
    mismatch: float = 0.04
    noise_hz: float = 0.15
    flicker: float = 0.015
    lull: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        sides, rate, labels = (
            (self.width, self.height),
            self.frames_per_second,
            self.labels_per_second,
        )
        for holds, rule in (
            (min(sides) >= 64 and max(sides) <= 4096, "sides of 64 to 4096 px"),
            (0.2 <= self.seconds <= 600, "a length of 0.2 to 600 s"),
            (rate >= 60 and labels > 0, "60 frames_per_second or more, and some labels_per_second"),
            (labels <= 0 or rate % labels == 0, "frames_per_second that labels_per_second divide"),
            (0.02 <= self.threshold <= 2, "a threshold of 0.02 to 2"),
            (0 <= self.mismatch <= 0.3, "a mismatch of 0 to 0.3"),
            (min(self.density, self.noise_hz, self.flicker) >= 0, "no negative rates"),
            (0 <= self.lull <= self.seconds / 3, "a lull of a third of the recording at most"),
        ):
            if not holds:
                raise GeneratedDataError(f"A generated recording has {rule}; asked was {self}.")

    @property
    def frames(self) -> int:
        """Number of simulated steps; the step ``i`` ends at ``(i + 1) / frames_per_second`` s."""
        return round(self.seconds * self.frames_per_second)

    @property
    def times(self) -> np.ndarray:
        """(frames + 1,) seconds since the start."""
        return np.arange(self.frames + 1) / self.frames_per_second

    def class_id(self, kind: str) -> int | None:
        """Raw class id of a kind of road users; None: they are not labelled."""
        names = (kind, _ALSO_CALLED.get(kind))
        return next((self.classes.index(name) for name in names if name in self.classes), None)

    def time_us(self, frame: int) -> float:
        """Time of a frame since the start, microseconds (whole ones only at some frames)."""
        return frame * 1e6 / self.frames_per_second
