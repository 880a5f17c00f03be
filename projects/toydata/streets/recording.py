"""One generated recording: the events and the labels of a street with moving road users.

One seed gives one recording, whoever asks for it and in whatever portions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eventcam.io import BBOX_DTYPE, Events
from toydata.streets.sensor import ThresholdSensor
from toydata.streets.settings import SceneSettings
from toydata.streets.view import Placed, StreetView

SMALLEST_LABEL_PX = 4.0  # sides of what is on the sensor
SMALLEST_SHARE_ON_SENSOR = 0.1
SMALLEST_SHARE_UNHIDDEN = 0.25  # of what is on the sensor
_SMALLEST_HAZE = 0.5
_FRAMES_PER_CHUNK = 60


def generate_recording(
    settings: SceneSettings, seed: int | list[int], frames_per_chunk: int = _FRAMES_PER_CHUNK
) -> tuple[Iterator[Events], np.ndarray]:
    """One recording.

    Args:
        settings: sensor and street.
        seed: decides everything that the settings leave open.
        frames_per_chunk: simulated steps per block of events; changes nothing but the borders of
            the blocks.

    Returns:
        Blocks of events in the order of time, made while one iterates; and the labels
        (structured, ``BBOX_DTYPE``). An object that stands still stays labelled, one
        that is mostly hidden or outside does not.
    """
    street, sensor = np.random.SeedSequence(seed).spawn(2)
    view = StreetView(settings, np.random.default_rng(street))
    events = _events(view, settings, np.random.default_rng(sensor), frames_per_chunk)
    return events, _labels(view, settings)


def _events(
    view: StreetView, settings: SceneSettings, rng: np.random.Generator, frames_per_chunk: int
) -> Iterator[Events]:
    sensor = ThresholdSensor(view.log_frame(0), settings, rng)
    for start in range(0, settings.frames, frames_per_chunk):
        stop = min(start + frames_per_chunk, settings.frames)
        steps = [
            sensor.advance(view.log_frame(frame + 1), settings.time_us(frame + 1))
            for frame in range(start, stop)
        ]
        pixels, polarities, times = map(np.concatenate, zip(*steps, strict=True))
        y, x = np.divmod(pixels, settings.width)
        yield Events(x.astype(np.uint16), y.astype(np.uint16), polarities, times)


def _labels(view: StreetView, settings: SceneSettings) -> np.ndarray:
    """Boxes of what is visible enough, as often as the settings say, the first after that time."""
    stride = settings.frames_per_second // settings.labels_per_second
    tracks = {id(actor): number for number, actor in enumerate(view.labelled)}
    rows = []
    for frame in range(stride, settings.frames + 1, stride):
        time_us = int(settings.time_us(frame))
        for thing, on_sensor, unhidden in view.visible_shares(frame):
            box = _label_box(thing, on_sensor, unhidden, frame, settings)
            kind = thing.actor.kind
            class_id = kind and settings.class_id(kind.name)
            if box is not None and class_id is not None:
                rows.append((time_us, *box, class_id, tracks[id(thing.actor)], 1.0))
    return np.array(rows, BBOX_DTYPE) if rows else np.zeros(0, BBOX_DTYPE)


def _label_box(
    thing: Placed, on_sensor: float, unhidden: float, frame: int, settings: SceneSettings
) -> tuple[float, float, float, float] | None:
    """Left, top, width, height of the part on the sensor, px; None if too little is seen."""
    hazy = thing.actor.haze[frame] < _SMALLEST_HAZE
    limits = [settings.width - 1, settings.height - 1] * 2  # as published
    left, top, right, bottom = np.clip(thing.box, 0, limits).tolist()
    too_small = min(right - left, bottom - top) < SMALLEST_LABEL_PX
    outside = on_sensor < SMALLEST_SHARE_ON_SENSOR
    if hazy or too_small or outside or unhidden < SMALLEST_SHARE_UNHIDDEN:
        return None
    return left, top, right - left, bottom - top
