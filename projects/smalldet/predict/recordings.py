"""Detections on recordings of an event camera, window by window, with memory between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import Instances
from torch import nn

from eventcam.class_maps import ClassMap
from eventcam.io.events import Events
from eventcam.io.opening import open_events
from eventcam.published import as_published
from eventcam.representations import (
    Downsample,
    Representation,
    RepresentationName,
    get_representation,
)
from eventcam.windows import WINDOW_US, LiveWindows, Windows, clean_chunks, window_ends

STREAM = "prediction"
CHUNK_STEPS = 5  # windows that the model sees at once; memory grows with it


class Frame(NamedTuple):
    """What was found at one time.

    Attributes:
        time_us: end of the window of 50 ms.
        histogram: its events, (C, H, W): a stacked histogram or a voxel grid, as the model sees it.
        instances: as in :meth:`EventPredictor.stream`.
    """

    time_us: int
    histogram: np.ndarray
    instances: Instances


class EventPredictor:
    """A recurrent detector, or an exported one, with all that turns events into its input.

    Its memory goes on from call to call of :meth:`stream` until :meth:`reset`.

    Args:
        model: with weights.
        class_map: what its class ids mean.
        downsample: how sensor px become px of the input: "nearest", "sum" or "none".
        representation: what the model sees: "histogram" or "voxel".

    Attributes:
        unreadable: events in damaged blocks of the last file that was read to its end.
    """

    def __init__(
        self,
        model: nn.Module,
        class_map: ClassMap,
        downsample: Downsample = "none",
        representation: RepresentationName = "histogram",
    ) -> None:
        self.model = model.eval()
        self.class_map = class_map
        self.class_names = list(class_map.classes)
        self.downsample: Downsample = downsample
        self.representation: RepresentationName = representation
        self.unreadable = 0
        self.reset()

    @property
    def factor(self) -> int:
        """Px of the sensor for each px of the histogram, along one side."""
        return 1 if self.downsample == "none" else 2

    def reset(self) -> None:
        """Forget the recording: the next call of :meth:`stream` begins another."""
        self._is_first = True
        self._windows = LiveWindows()
        self._time_us = 0

    def stream(
        self,
        events: Events | np.ndarray | str | Path,
        sensor: tuple[int, int] | None = None,
        min_score: float = 0.0,
    ) -> Iterator[Frame]:
        """Detections on the windows of 50 ms that ``events`` complete.

        Args:
            events: the next events of a recording, in order of time: :class:`eventcam.io.Events`
                or a structured array with ``x``, ``y``, ``p`` and ``t`` (us); or representations
                (T, C, H, W) of successive windows; or an event file, which is a recording of its
                own: memory is reset before and after it.
            sensor: height and width of the camera, px, for events that are no file.
            min_score: detections below it are left out.

        Yields:
            A :class:`Frame` for each window, with ``Instances`` on the CPU: ``pred_boxes``
            (xyxy_abs, px of the histogram, which is half the sensor unless ``downsample`` is
            "none"), ``scores``, ``pred_classes``. A window is complete when an event behind it has
            come; the last one of a file when it ends.

        Raises:
            ValueError: something else was given, or no ``sensor``.
            EventDataError: a file that is no recording.
        """
        if isinstance(events, str | Path):
            yield from self._file(Path(events), min_score)
        elif isinstance(events, np.ndarray) and events.ndim == 4:
            yield from self._detect(((None, h) for h in events), min_score)
        else:
            yield from self._detect(self._counted(_columns(events), sensor), min_score)

    def play(
        self, steps: Iterable[tuple[int, np.ndarray]], min_score: float = 0.0
    ) -> Iterator[Frame]:
        """Detections on a whole prepared recording; memory is reset before and after.

        Args:
            steps: end of the window (us) and its representation (C, H, W).
            min_score: as in :meth:`stream`.
        """
        self.reset()
        yield from self._detect(steps, min_score)
        self.reset()

    def _file(self, path: Path, min_score: float) -> Iterator[Frame]:
        with open_events(path, as_published(self.class_map.name).sensor) as reader:
            represent = self._representation(reader.height, reader.width).count
            ends = window_ends(*reader.time_range_us())
            events = clean_chunks(reader.chunks(), reader.width, reader.height, Counter())
            windows = Windows(events).cut(ends)
            steps = ((e, represent(w)) for e, w in zip(ends, windows, strict=True))
            yield from self.play(steps, min_score)
            self.unreadable = reader.counts["events_unreadable"]

    def _counted(
        self, events: Events, sensor: tuple[int, int] | None
    ) -> Iterator[tuple[int, np.ndarray]]:
        if sensor is None:
            raise ValueError(
                "How large is the camera? Pass sensor=(height, width) in px with events that do "
                "not come from a file."
            )
        represent = self._representation(*sensor)
        for end, window in self._windows.push(events):
            yield end, represent(window)

    def _representation(self, height: int, width: int) -> Representation:
        return get_representation(self.representation)(height, width, downsample=self.downsample)

    def _detect(
        self, steps: Iterable[tuple[int | None, np.ndarray]], min_score: float
    ) -> Iterator[Frame]:
        for chunk in _groups(steps, CHUNK_STEPS):
            times, histograms = zip(*chunk, strict=True)
            sample = {
                "events": torch.from_numpy(np.stack(histograms)),
                "stream": STREAM,
                "is_first": self._is_first,
            }
            with torch.inference_mode():
                outputs = self.model([sample])
            self._is_first = False
            for time, histogram, output in zip(times, histograms, outputs, strict=True):
                found = output["instances"].to("cpu")
                self._time_us = self._time_us + WINDOW_US if time is None else time
                yield Frame(self._time_us, histogram, found[found.scores >= min_score])


def _groups(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _columns(events: Any) -> Events:
    if isinstance(events, Events):
        return events
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    if not {"x", "y", "p", "t"} <= set(names):
        raise ValueError(
            f"Events were given as {type(events).__name__}; expected eventcam.io.Events, an array "
            "with the fields x, y, p and t, representations (T, C, H, W), or a file."
        )
    kinds = {"x": np.uint16, "y": np.uint16, "p": np.uint8, "t": np.int64}
    return Events(*(np.ascontiguousarray(events[name], kind) for name, kind in kinds.items()))
