"""Recordings, raw or prepared, and training samples as a series of shots to draw."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eventcam.class_maps import ETRAM_RAW, get_class_map
from eventcam.errors import EventDataError
from eventcam.io import open_events
from eventcam.io import rvt_layout as layout
from eventcam.io.label_files import ENDINGS, class_names, read_labels
from eventcam.io.opening import READERS
from eventcam.io.records import read_json
from eventcam.io.rvt_recording import RvtRecording
from eventcam.render.frames import count_events, labelled_boxes
from eventcam.windows import WINDOW_US, Windows, clean_chunks, window_ends
from pictures.boxes import BoxSet
from pictures.events import count_histogram

LOG = logging.getLogger(__name__)
_ANY_CLASS = 1 << 32


@dataclass(frozen=True)
class Shot:
    """What is seen at one time.

    Attributes:
        time_us: end of the window of events.
        counts: ON and OFF events per pixel, (H, W) each; of a voxel grid, parts of events.
        truth: labelled boxes; None where it is not known what is there.
    """

    time_us: int
    counts: tuple[np.ndarray, np.ndarray]
    truth: BoxSet | None


@dataclass(frozen=True)
class Footage:
    """A part of a recording.

    Attributes:
        source: what is shown.
        width: px of the events.
        class_names: by class id of the boxes.
        times_us: of all shots; ``known_us``: of those whose boxes are known.
        shots: read while one iterates, once.
    """

    source: str
    width: int
    class_names: Sequence[str]
    times_us: np.ndarray
    known_us: np.ndarray
    shots: Iterator[Shot]


def open_footage(path: Path, start: float = 0.0, seconds: float | None = None) -> Footage:
    """Windows of 50 ms of a raw recording (a file) or of a prepared one (a folder).

    Args:
        path: event file, whose boxes are beside it; or folder of one prepared recording, or of
            many, of which the first is taken.
        start: seconds after the beginning of the recording.
        seconds: length; None until the end.

    Raises:
        EventDataError: nothing readable is there, or nothing in that time.
    """
    path = Path(path)
    if path.is_dir():
        return _prepared_footage(_prepared_recording(path), start, seconds)
    return _raw_footage(path, start, seconds)


def _raw_footage(path: Path, start: float, seconds: float | None) -> Footage:
    with open_events(path) as reader:
        begins = np.array(window_ends(*reader.time_range_us())) - WINDOW_US
        width = reader.width
    ends = _within(begins, start, seconds, path) + WINDOW_US
    file = labels_beside(path)
    names = (file and class_names(file)) or ETRAM_RAW
    labels = file and read_labels(file, names)[0]
    known = ends if labels is not None else ends[:0]
    shots = _raw_shots(path, ends, labels)
    return Footage(path.name, width, names, ends, known, shots)


def _within(begins: np.ndarray, start: float, seconds: float | None, path: Path) -> np.ndarray:
    """Those times that lie in the part asked for, counted from the first one."""
    since = (begins - begins[0]) / 1e6
    stop = np.inf if seconds is None else start + seconds
    chosen = begins[(since >= start - 1e-9) & (since < stop - 1e-9)]
    if len(chosen) == 0:
        raise EventDataError(
            f"{path} lasts {since[-1]:.2f} s; there is nothing to show from {start} s"
            f"{'' if seconds is None else f' for {seconds} s'}. Choose an earlier start."
        )
    return chosen


def _raw_shots(path: Path, ends: np.ndarray, labels: np.ndarray | None) -> Iterator[Shot]:
    with open_events(path) as reader:
        size = reader.width, reader.height
        windows = Windows(clean_chunks(reader.chunks(), *size, Counter()))
        for end, events in zip(ends.tolist(), windows.cut(ends.tolist()), strict=True):
            yield Shot(end, count_events(events, *size), labelled_at(labels, end))


def labels_beside(path: Path) -> Path | None:
    """The file of boxes of ``<name>_td[.dat].h5``, ``.dat`` or ``.raw``; None without any."""
    name = path.name
    for suffix in (".dat.h5", *READERS):
        name = name.removesuffix(suffix)
    files = [path.with_name(name.removesuffix("_td") + ending) for ending in ENDINGS]
    return next((file for file in files if file.exists()), None)


def labelled_at(labels: np.ndarray | None, time_us: int) -> BoxSet | None:
    """The boxes drawn nearest to a time, at most half a window away."""
    if labels is None:
        return None
    near = labels[np.abs(labels["t"] - time_us) <= WINDOW_US // 2]
    if len(near) == 0:
        return BoxSet()
    distance = np.abs(near["t"] - time_us)
    return labelled_boxes(near[near["t"] == near["t"][np.argmin(distance)]])


def _prepared_recording(folder: Path) -> Path:
    """``folder`` itself, or the first prepared recording in it."""
    if (folder / layout.LABELS).exists():
        return folder
    inside = sorted(
        found.parents[len(layout.LABELS.parts) - 1]
        for depth in ("*", "*/*")
        for found in folder.glob(f"{depth}/{layout.LABELS.as_posix()}")
    )
    if not inside:
        raise EventDataError(
            f"{folder} holds no prepared recording (no {layout.LABELS} in it or in folders up to "
            f"two levels below). Prepare one with `tools/prepare_events.py`, or name an event file."
        )
    LOG.info("%s holds %d recordings; %s is shown", folder, len(inside), inside[0])
    return inside[0]


def _prepared_footage(folder: Path, start: float, seconds: float | None) -> Footage:
    manifest = folder.parents[1] / layout.MANIFEST
    names: Sequence[str] = ()  # RVT's own script does not say which classes it wrote
    if manifest.exists():
        names = get_class_map(read_json(manifest)["settings"]["class_map"]).classes
    return recording_footage(RvtRecording(folder, len(names) or _ANY_CLASS), names, start, seconds)


def recording_footage(
    recording: RvtRecording,
    class_names: Sequence[str],
    start: float = 0.0,
    seconds: float | None = None,
) -> Footage:
    """A part of a prepared recording; its file is open while one iterates only.

    Args:
        recording: boxes and events in px of its representation.
        class_names: by class id.
        start: seconds after the beginning of the recording.
        seconds: length; None until the end.

    Raises:
        EventDataError: there is nothing in that time.
    """
    recording.close()
    steps = recording.timestamps_us
    truth = prepared_truth(recording)
    times = _within(steps - WINDOW_US, start, seconds, recording.folder) + WINDOW_US
    known = times[np.isin(times, steps[sorted(truth)])]
    first = int(np.searchsorted(steps, times[0]))
    shots = _prepared_shots(recording, range(first, first + len(times)), truth)
    return Footage(recording.name, recording.shape[2], class_names, times, known, shots)


def prepared_truth(recording: RvtRecording) -> dict[int, BoxSet]:
    """Boxes by step; steps of which nothing is known are left out."""
    empty = recording.known_empty_steps
    truth = {int(step): BoxSet() for step in (() if empty is None else empty)}
    for frame, step in enumerate(recording.frame_steps.tolist()):
        truth[step] = BoxSet(*recording.boxes(frame))
    return truth


def _prepared_shots(
    recording: RvtRecording, steps: range, truth: Mapping[int, BoxSet]
) -> Iterator[Shot]:
    with closing(recording):
        for step in steps:
            counts = count_histogram(recording.events(step, step + 1)[0])
            yield Shot(int(recording.timestamps_us[step]), counts, truth.get(step))


def sample_footage(sample: Mapping[str, Any], class_names: Sequence[str]) -> Footage:
    """A training sample, as augmented.

    Args:
        sample: ``events`` (T, C, H, W), ``boxes`` and ``classes`` (T entries, None = unlabelled,
            xyxy_abs) and ``timestamps_us``; arrays or tensors.
        class_names: by class id.
    """
    events = np.asarray(sample["events"])
    times = np.asarray(sample["timestamps_us"]).astype(np.int64)
    truth = [
        None if boxes is None else BoxSet(np.asarray(boxes), np.asarray(classes))
        for boxes, classes in zip(sample["boxes"], sample["classes"], strict=True)
    ]
    shots = (
        Shot(int(time), count_histogram(histogram), boxes)
        for time, histogram, boxes in zip(times, events, truth, strict=True)
    )
    known = times[[boxes is not None for boxes in truth]]
    return Footage("sample", events.shape[3], class_names, times, known, shots)
