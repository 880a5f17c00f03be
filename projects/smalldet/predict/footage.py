"""A recording of events to predict on: a raw file, or the folder of a prepared one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eventcam.class_maps import ClassMap, check_class_map
from eventcam.errors import EventDataError
from eventcam.io import open_events
from eventcam.io import rvt_layout as layout
from eventcam.io.label_files import read_labels
from eventcam.io.records import read_json
from eventcam.io.rvt_recording import RvtRecording
from eventcam.labels import scale_boxes
from eventcam.published import as_published
from eventcam.render.sources import labelled_at, labels_beside, prepared_truth
from eventcam.windows import window_ends
from pictures.boxes import BoxSet
from smalldet.predict.recordings import EventPredictor, Frame


@dataclass(frozen=True)
class Footage:
    """Detections on a recording, and what is known to be there.

    Attributes:
        frames: read and predicted while one iterates, once; behind the last one an EventDataError
            if blocks of the file are damaged.
        steps: how many there will be.
        truth: labels (px of the histograms) at the end of a window (us); None where nothing is
            known.
    """

    frames: Iterator[Frame]
    steps: int
    truth: Callable[[int], BoxSet | None]


def open_footage(path: Path, predictor: EventPredictor, min_score: float = 0.0) -> Footage:
    """A raw recording, with labels if their file lies beside it, or a prepared one.

    Args:
        path: an event file, or the folder of one prepared recording.
        predictor: sees it from its beginning; others must not use it meanwhile.
        min_score: detections below it are left out.

    Raises:
        EventDataError: it cannot be read, or was prepared otherwise than the predictor expects.
    """
    return (_prepared if path.is_dir() else _raw)(path, predictor, min_score)


def _prepared(folder: Path, predictor: EventPredictor, min_score: float) -> Footage:
    manifest = folder.parents[1] / layout.MANIFEST
    if manifest.exists():
        found = read_json(manifest)["settings"]["class_map"]
        check_class_map(found, predictor.class_map.name, folder)
    classes = len(predictor.class_map.classes)
    kind = predictor.representation
    recording = RvtRecording(folder, classes, predictor.downsample, representation=kind)
    truth = {
        int(recording.timestamps_us[step]): boxes
        for step, boxes in prepared_truth(recording).items()
    }
    frames = predictor.play(_prepared_steps(recording), min_score)
    return Footage(frames, recording.num_steps, truth.get)


def _prepared_steps(recording: RvtRecording) -> Iterator[tuple[int, np.ndarray]]:
    with closing(recording):
        for step, time in enumerate(recording.timestamps_us.tolist()):
            yield time, recording.events(step, step + 1)[0]


def _raw(path: Path, predictor: EventPredictor, min_score: float) -> Footage:
    with open_events(path, as_published(predictor.class_map.name).sensor) as reader:
        steps = len(window_ends(*reader.time_range_us()))
        size = reader.width, reader.height
    file, labels = labels_beside(path), None
    if file is not None:
        labels, _ = read_labels(file, predictor.class_map.raw)
        labels = _as_predicted(labels, predictor.class_map, predictor.factor, size)
    frames = _raw_frames(path, predictor, min_score)
    return Footage(frames, steps, lambda time_us: labelled_at(labels, time_us))


def _raw_frames(path: Path, predictor: EventPredictor, min_score: float) -> Iterator[Frame]:
    yield from predictor.stream(path, min_score=min_score)
    if predictor.unreadable:
        raise EventDataError(
            f"{path} has damaged blocks with {predictor.unreadable:,} events, which are missing in "
            "what was looked at. Copy the file again."
        )


def _as_predicted(
    labels: np.ndarray, class_map: ClassMap, factor: int, size: tuple[int, int]
) -> np.ndarray:
    """Raw labels in the classes of the model and px of its input."""
    mapped, _ = class_map.apply(labels)
    return mapped if factor == 1 else scale_boxes(mapped, 1 / factor, *size)[0]
