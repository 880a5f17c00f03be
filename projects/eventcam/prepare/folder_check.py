"""What a folder of recordings holds, raw or prepared, before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eventcam.class_maps import ClassMap, get_class_map
from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.io.arrays import damage_reported
from eventcam.io.label_files import class_names, read_labels, require_known
from eventcam.io.opening import open_events
from eventcam.io.records import describe_file, read_json
from eventcam.io.rvt_folder import RvtFolder
from eventcam.io.rvt_recording import RvtRecording
from eventcam.labels import boxes_xyxy, scale_boxes
from eventcam.prepare.raw_folder import RawRecording, find_recordings
from eventcam.prepare.size_report import Labelled
from eventcam.published import as_published

RAW_CLASSES = "etram_cls8"  # unless the label files have names


@dataclass(frozen=True)
class Contents:
    """The recordings of a folder.

    Attributes:
        class_map: of their boxes.
        splits: recordings by split, those that can be read; boxes are in px of the network's input.
        unreadable: why the others cannot, by split and name.
        shared: recordings, as ``train/a``, that have the same name or the same events, and which.
    """

    class_map: ClassMap
    splits: Mapping[str, Sequence[Labelled]]
    unreadable: Mapping[str, str]
    shared: Mapping[tuple[str, ...], list[str]]


@dataclass(frozen=True)
class RawBoxes:
    """The boxes of a raw recording as preparation keeps them; a frame is a labelled time.

    Attributes:
        shape: channels (none), height, width of the network's input.
        frames: boxes by frame (``BBOX_DTYPE``), px of the network's input.
    """

    shape: tuple[int, int, int]
    frames: list[np.ndarray] = field(repr=False)

    @property
    def num_frames(self) -> int:
        return len(self.frames)

    def boxes(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`eventcam.io.rvt_recording.RvtRecording.boxes`."""
        labels = self.frames[frame]
        return boxes_xyxy(labels), labels["class_id"].astype(np.int64)


def look_into(root: Path, class_map: str = "", downsample: str | None = None) -> Contents:
    """Labels of all recordings, and which of them are the same; events are not decoded.

    Args:
        root: holds train, val and test, with raw recordings or prepared ones.
        class_map: name or own classes; "" takes that of the manifest, the names in raw label files,
            or :data:`RAW_CLASSES`.
        downsample: "nearest", "sum" or "none"; None takes that of prepared recordings, and for raw
            ones what was published with the data set.

    Raises:
        EventDataError: there are no recordings, or they were prepared otherwise.
    """
    is_prepared = any(root.glob(f"*/*/{layout.LABELS.as_posix()}"))
    return (_prepared if is_prepared else _raw)(root, class_map, downsample)


def _prepared(root: Path, class_map: str, downsample: str | None) -> Contents:
    manifest = root / layout.MANIFEST
    if not class_map and manifest.exists():
        class_map = read_json(manifest).get("settings", {}).get("class_map", "")
    folder = RvtFolder(root, class_map or RAW_CLASSES, downsample)
    splits: dict[str, list[RvtRecording]] = {split: [] for split in layout.SPLITS}
    found, noted = {}, {}
    for key, one in ((f"{s}/{r.name}", r) for s in splits for r in folder.recordings(s)):
        try:
            noted[key] = _noted_checksum(one.folder)
        except EventDataError as error:
            folder.skipped[key] = str(error)
            continue
        found[key] = one
        splits[one.split].append(one)
    files = {key: one.data_file for key, one in found.items() if not noted[key]}
    known = {key: checksum for key, checksum in noted.items() if checksum} | _checksums(files)
    return Contents(folder.class_map, splits, folder.skipped, _shared([*found], known))


def _raw(root: Path, class_map: str, downsample: str | None) -> Contents:
    recordings = find_recordings(root)
    used = class_map or ",".join(f"{name}={name}" for name in _names(recordings)) or RAW_CLASSES
    chosen = get_class_map(used)
    factor = 1 if (downsample or as_published(chosen.name).downsample) == "none" else 2
    splits: dict[str, list[Labelled]] = {split: [] for split in layout.SPLITS}
    unreadable = {}
    for one in recordings:
        try:
            splits[one.split].append(_raw_boxes(one, chosen, factor))
        except EventDataError as error:
            unreadable[one.key] = str(error)
    files = {one.key: one.events for one in recordings if one.events}
    shared = _shared([one.key for one in recordings], _checksums(files))
    return Contents(chosen, splits, unreadable, shared)


def _names(recordings: list[RawRecording]) -> list[str]:
    """All classes in label files with names; those that cannot be read are told of later."""
    found: set[str] = set()
    for one in recordings:
        try:
            found.update(class_names(one.labels) if one.labels else ())
        except EventDataError:
            continue
    return sorted(found)


def _raw_boxes(recording: RawRecording, class_map: ClassMap, factor: int) -> RawBoxes:
    if recording.events is None or recording.labels is None:
        lacking = "events" if recording.events is None else "labels"
        raise EventDataError(f"it has no file of {lacking}; put that beside the other one")
    require_known(recording.labels, class_map.raw)
    labels, _ = class_map.apply(read_labels(recording.labels, class_map.raw)[0])
    data_set = as_published(class_map.name)
    with open_events(recording.events, data_set.sensor) as reader:
        size = reader.width, reader.height
    labels, _ = data_set.label_filter.apply(labels, *size, train=recording.split == "train")
    if factor > 1:
        labels, _ = scale_boxes(labels, 1 / factor, *size)
    _, starts = np.unique(labels["t"], return_index=True)
    frames = np.split(labels, starts[1:]) if len(labels) else []
    return RawBoxes((0, size[1] // factor, size[0] // factor), frames)


def _noted_checksum(folder: Path) -> str:
    """That of the events which a recording was prepared from; "" of RVT's own script."""
    record = folder / layout.RECORD
    with damage_reported(record, "the record of a preparation"):
        sources = read_json(record).get("sources", {}) if record.exists() else {}
        return sources.get("events", {}).get("sha256", "")


def _checksums(files: Mapping[str, Path]) -> dict[str, str]:
    """Of those files whose size another one has, too: only these need to be read."""
    sizes = {key: file.stat().st_size for key, file in files.items()}
    often = Counter(sizes.values())
    same = (key for key in files if often[sizes[key]] > 1)
    return {key: describe_file(files[key])["sha256"] for key in same}


def _shared(keys: list[str], checksums: Mapping[str, str]) -> dict[tuple[str, ...], list[str]]:
    names = {key: key.partition("/")[2] for key in keys}
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for what, values in (("name", names), ("events", checksums)):
        groups = defaultdict(list)
        for key, value in values.items():
            groups[value].append(key)
        for group in groups.values():
            if len(group) > 1:
                found[tuple(group)].append(what)
    return dict(found)
