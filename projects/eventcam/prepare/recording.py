"""One raw recording to one folder of representations, labels and times."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eventcam.class_maps import get_class_map
from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.io.blosc import ChunkWriter
from eventcam.io.events import EventReader
from eventcam.io.label_files import read_labels, require_known
from eventcam.io.opening import open_events
from eventcam.labels import LabelFilter, crop_to_frame
from eventcam.prepare.label_frames import Schedule, known_empty_steps, label_grid, schedule
from eventcam.published import DataSet, as_published
from eventcam.representations import (
    Downsample,
    Representation,
    RepresentationName,
    get_representation,
)
from eventcam.windows import WINDOW_US, Windows, clean_chunks

FORMAT = 1  # raised when the same settings would give other files
# Labels go on after the last event of a file that was cut short; what lies further behind the
# events than this is left out, because nothing could be seen there.
GRACE_US = 500_000


@dataclass(frozen=True)
class Preparation:
    """Settings that decide what is written; part of the manifest.

    Attributes:
        class_map: name of the class map for the labels, or own classes; see ``class_maps``.
        downsample: "nearest" or "sum" for half resolution, or "none".
        published: reproduce the published preparation where it has defects: windows closed at both
            ends (events on a border count twice), and its choice of frames, which loses labels
            after gaps and refuses label rates other than 30 and 60 Hz (of Gen1, whose labels are
            at 4 Hz at most, it ends representations every 125 ms between them). Both choices agree
            on regular labels of 30 and 60 Hz. It also leaves small boxes out of all splits
            (``label_filter``, as published with the data set).
        label_filter: which boxes are kept in all splits; None keeps all that lie in the frame, as
            training has a filter of its own (``EventRecordings``) and so has each protocol.
        bins: time bins of a representation.
        cutoff: its largest value, of either sign.
        representation: "histogram" or "voxel".
    """

    class_map: str = "etram_cls8"
    downsample: Downsample = "nearest"
    published: bool = False
    label_filter: LabelFilter | None = None
    bins: int = 10
    cutoff: int = 10
    representation: RepresentationName = "histogram"

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_map", get_class_map(self.class_map).name)
        if self.published and self.label_filter is None:
            object.__setattr__(self, "label_filter", self.data_set.label_filter)
        self.kind(1, 1, downsample=self.downsample)

    @property
    def kind(self) -> type[Representation]:
        """Of the representations."""
        return get_representation(self.representation)

    @property
    def data_set(self) -> DataSet:
        """What was published about the data set that the class map names."""
        return as_published(self.class_map)

    def as_dict(self) -> dict[str, Any]:
        """For the manifest, plain values only."""
        return {"format": FORMAT, **asdict(self), "window_us": WINDOW_US}


def prepare_recording(
    events: Path, labels: Path, folder: Path, settings: Preparation, train: bool
) -> dict[str, Any]:
    """Write one recording into ``folder`` (new or empty).

    Args:
        events: ``.h5``, ``.dat`` or ``.raw``.
        labels: ``*_bbox.npy``, ``.csv`` or ``.json``.
        folder: receives the files of :mod:`eventcam.io.rvt_layout`, without the record.
        settings: see there.
        train: whether it belongs to the training split (a label filter depends on it).

    Returns:
        Sensor size, counts and everything dropped, with reasons; plain values.

    Raises:
        EventDataError: the files are unusable or nothing is left; the text says what and why.
    """
    class_map = get_class_map(settings.class_map)
    require_known(labels, class_map.raw)
    raw, dropped = read_labels(labels, class_map.raw)
    with open_events(events, settings.data_set.sensor) as reader:
        kept, counts = _select_boxes(raw, dropped, reader, settings, train)
        times = schedule(kept["t"], settings.published, settings.data_set.frame_period_us)
        written = _write_representations(folder, reader, times, settings, counts)
        total = reader.num_events()
        sensor = {"width": reader.width, "height": reader.height}
    looked = raw["t"]
    if written < len(times.ends_us):
        times = _shortened(times, written)
        looked = looked[looked <= times.ends_us[-1]]
    in_frames = kept[np.isin(kept["t"], times.frames_us)]
    empty = known_empty_steps(times, looked)
    _write_times_and_labels(folder, times, in_frames, looked, empty, settings.representation)
    counts["boxes_not_at_a_frame"] = len(kept) - len(in_frames)
    reasons = ("boxes_unreadable", "boxes_not_finite", "boxes_impossible_time")
    unusable = sum(dropped[reason] for reason in reasons)
    names = class_map.classes
    per_class = np.bincount(in_frames["class_id"], minlength=len(names))
    return {
        "sensor": sensor,
        "counts": {
            "events_in_file": total,
            "events_read": counts.pop("events_read", 0),
            "representations": len(times.ends_us),
            "frames": len(times.frames_us),
            "frames_known_empty": len(empty),
            "boxes_in_file": len(raw) + unusable,
            "boxes": len(in_frames),
        },
        "boxes_per_class": dict(zip(names, per_class.tolist(), strict=True)),
        "dropped_or_changed": dict(sorted((+counts).items())),
    }


def _select_boxes(
    raw: np.ndarray,
    dropped: Counter[str],
    reader: EventReader,
    settings: Preparation,
    train: bool,
) -> tuple[np.ndarray, Counter[str]]:
    """Boxes mapped and filtered, sorted by time, and what was dropped."""
    mapped, unknown = get_class_map(settings.class_map).apply(raw)
    if settings.label_filter is None:
        kept, outside = crop_to_frame(mapped, reader.width, reader.height)
        filtered = Counter(boxes_outside_frame=outside)
    else:
        kept, filtered = settings.label_filter.apply(mapped, reader.width, reader.height, train)
    counts = dropped + unknown + filtered
    if len(kept) == 0:
        reasons = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise EventDataError(f"no box is left of {len(raw)} ({reasons or 'the file has none'})")
    return kept, counts


def _write_representations(
    folder: Path,
    reader: EventReader,
    times: Schedule,
    settings: Preparation,
    counts: Counter[str],
) -> int:
    """Those of all windows; returns how many were written before the events ended."""
    representation = settings.kind(
        reader.height, reader.width, settings.bins, settings.cutoff, settings.downsample
    )
    stream = clean_chunks(reader.chunks(), reader.width, reader.height, counts)
    windows = Windows(stream, closed=settings.published)
    file, data = layout.create_representations(
        folder,
        settings.downsample,
        len(times.ends_us),
        representation.shape,
        settings.representation,
    )
    with file:
        with ChunkWriter(data) as writer:
            for end, events in zip(times.ends_us, windows.cut(times.ends_us.tolist()), strict=True):
                if windows.exhausted and (windows.last_us < 0 or end > windows.last_us + GRACE_US):
                    break
                writer.append(representation.count(events))
        data.resize(writer.count, axis=0)
    counts["events_beyond_window_capacity"] = windows.left_out
    counts.update(reader.counts)
    return writer.count


def _shortened(times: Schedule, steps: int) -> Schedule:
    """The first ``steps`` representations, up to the last frame among them."""
    frames = int(np.searchsorted(times.frame_steps, steps))
    if frames == 0:
        raise EventDataError(
            f"its events end before its labels begin (first frame at {times.frames_us[0]} us); "
            f"the events file is empty, cut short, or belongs to other labels"
        )
    return Schedule(times.frames_us[:frames], times.ends_us[:steps], times.frame_steps[:frames])


def _write_times_and_labels(
    folder: Path,
    times: Schedule,
    labels: np.ndarray,
    raw_times_us: np.ndarray,
    empty: np.ndarray,
    representation: str,
) -> None:
    layout.save_labels(folder, labels, times.frames_us)
    layout.save_array(folder, layout.LABEL_GRID, label_grid(raw_times_us))
    arrays = {
        layout.WINDOW_ENDS: times.ends_us,
        layout.FRAME_STEPS: times.frame_steps,
        layout.KNOWN_EMPTY: empty,
    }
    for path, array in arrays.items():
        layout.save_array(folder, layout.path_of(representation, path), array)
