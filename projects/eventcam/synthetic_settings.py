"""What the generator of event recordings can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from eventcam.errors import EventDataError

LABELS_PER_SECOND = 30  # as in the published recordings, whose preparation knows 30 and 60 Hz only
SPLITS = ("train", "val", "test")

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
            raise EventDataError(
                f"A generated recording has sides of {_SMALLEST_SIDE_PX} to {_LARGEST_SIDE_PX} px; "
                f"asked for was {self.width}x{self.height}."
            )
        if not 0.2 <= self.seconds <= 600:
            raise EventDataError(
                f"A generated recording lasts 0.2 to 600 s; asked for was {self.seconds} s."
            )
        if self.frames_per_second < 60 or self.frames_per_second % LABELS_PER_SECOND:
            raise EventDataError(
                f"frames_per_second is a multiple of {LABELS_PER_SECOND} and at least 60; "
                f"asked for was {self.frames_per_second}."
            )
        if not 0.02 <= self.threshold <= 2 or not 0 <= self.mismatch <= 0.3:
            raise EventDataError(
                f"The threshold lies in 0.02 to 2 and the mismatch in 0 to 0.3; asked for was "
                f"{self.threshold} and {self.mismatch}."
            )
        if min(self.density, self.noise_hz, self.flicker, self.lull) < 0:
            raise EventDataError(
                f"density, noise_hz, flicker and lull are not negative; asked for was {self}."
            )
        if self.lull > self.seconds / 3:
            raise EventDataError(
                f"A lull takes a third of the recording at most; asked for were {self.lull} of "
                f"{self.seconds} s."
            )

    @property
    def frames(self) -> int:
        """Number of simulated steps; the step ``i`` ends at ``(i + 1) / frames_per_second`` s."""
        return round(self.seconds * self.frames_per_second)

    def time_us(self, frame: int) -> float:
        """Time of a frame since the start, microseconds (whole ones only at some frames)."""
        return frame * 1e6 / self.frames_per_second


@dataclass(frozen=True)
class GeneratedRecordings:
    """A data set of recordings: two equal parameter sets give equal files.

    Attributes:
        seed: decides every recording.
        train: number of training recordings; ``val`` and ``test`` likewise.
        seconds: length of each recording.
        width: of the sensor, px.
        height: of the sensor, px.
        lull: seconds in the middle of each recording without road users, so that some times are
            known to be empty.
    """

    seed: int = 0
    train: int = 8
    val: int = 2
    test: int = 2
    seconds: float = 3.0
    width: int = 240
    height: int = 180
    lull: float = 0.0

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.test) < 1 or self.seed < 0:
            raise EventDataError(
                f"Generated data needs at least 1 recording in each split and a seed of at least "
                f"0; asked for was {self}."
            )
        self.scene()  # tells what is wrong with the other values

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> GeneratedRecordings:
        """From a config node or any other mapping of these names."""
        known = [entry.name for entry in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise EventDataError(
                f"Generated recordings do not know {', '.join(unknown)}; they take "
                f"{', '.join(known)}."
            )
        return cls(**{key: _as_number(values[key], key) for key in values})

    def scene(self) -> SceneSettings:
        """The settings of each recording."""
        return SceneSettings(
            width=self.width, height=self.height, seconds=self.seconds, lull=self.lull
        )

    def parameters(self) -> dict[str, Any]:
        """For the marker file."""
        return asdict(self)


def _as_number(value: Any, name: str) -> Any:
    """Numbers of one type, so that ``3`` and ``3.0`` seconds are the same request."""
    return float(value) if name in ("seconds", "lull") else int(value)
