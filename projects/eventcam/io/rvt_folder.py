"""Reading folders of prepared recordings, ours and those that RVT's own script made.

The layout is in :mod:`eventcam.io.rvt_layout`. Coordinates here are px of the representation: at
half resolution the stored boxes, which are in px of the sensor, are halved by the published rule.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from eventcam.class_maps import check_class_map, get_class_map
from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.io.arrays import damage_reported, load_arrays, load_indices
from eventcam.io.bbox import in_published_fields, split_by_frame
from eventcam.io.hdf5 import Dataset, File, open_h5
from eventcam.io.records import check_settings, left_out_boxes, read_json, settings_of
from eventcam.labels import LabelFilter, boxes_xyxy, crop_to_frame, scale_boxes

LOG = logging.getLogger(__name__)
_FACTORS = {"none": 1, "nearest": 2, "sum": 2}


class RvtRecording:
    """One prepared recording; representations are read when asked for.

    Can be sent to worker processes: each opens the file anew.

    Attributes:
        folder: its place; ``data_file``: that of its representations.
        name: of the recording.
        split: "train", "val" or "test".
        num_steps: representations, N.
        shape: channels, height, width of one.
        dtype: of its values.
        representation: "histogram" or "voxel".
        downsample: how half resolution was made, "none" at full resolution.
        timestamps_us: (N,) int64, end of each representation's window.
        frame_steps: (F,) int64, the representation of each labelled frame; one of whose boxes a
            label filter leaves none is no labelled frame.
        frame_times_us: (F,) int64.
        known_empty_steps: (K,) int64, representations known to show no object; None if the folder
            does not say (RVT's own script writes nothing of the kind).
        left_out: how many boxes are not there, by reason: what ``label_filter`` leaves out, what is
            flat in px of the representation and, opened through :class:`RvtFolder`, what a filter
            of the preparation left out.

    Args:
        label_filter: which boxes to take; None takes all.
        representation: None takes the only one, as ``downsample`` does.
    """

    def __init__(
        self,
        folder: Path,
        num_classes: int,
        downsample: str | None = None,
        label_filter: LabelFilter | None = None,
        representation: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.name, self.split = self.folder.name, self.folder.parent.name
        kind = layout.find_representation(self.folder, downsample, representation)
        self.downsample, self.representation = kind
        self.data_file = self.folder / layout.representation_file(*kind)
        self._file: File | None = None
        self._process = -1
        self.num_steps, *shape = self._data().shape
        self.shape: tuple[int, int, int] = tuple(shape)
        self.dtype = self._data().dtype
        ends, steps, empty = (
            self.data_file.with_name(path.name)
            for path in (layout.WINDOW_ENDS, layout.FRAME_STEPS, layout.KNOWN_EMPTY)
        )
        self.timestamps_us, self.frame_steps = load_indices(ends), load_indices(steps)
        self.frame_times_us = load_indices(self.folder / layout.FRAME_TIMES)
        self.known_empty_steps = load_indices(empty) if empty.exists() else None
        self.left_out: Counter[str] = Counter()
        frames = self._load_labels(num_classes)
        self._check_lengths(len(frames))
        self._labels = self._chosen(frames, label_filter)

    @property
    def num_frames(self) -> int:
        return len(self.frame_steps)

    def events(self, start: int, stop: int) -> np.ndarray:
        """Representations ``start`` to ``stop`` - 1.

        Returns:
            (stop - start, *shape) of ``dtype``.

        Raises:
            EventDataError: they are not all there or cannot be decompressed.
        """
        if not 0 <= start <= stop <= self.num_steps:
            raise EventDataError(
                f"{self.folder} has the representations 0 to {self.num_steps - 1}; "
                f"{start} to {stop - 1} were asked for."
            )
        with damage_reported(self.folder, f"representations {start} to {stop - 1}"):
            return self._data()[start:stop]

    def boxes(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (n, 4) float32 xyxy_abs, px of the representation, and classes (n,) int64."""
        labels = self._labels[frame]
        return boxes_xyxy(labels), labels["class_id"].astype(np.int64)

    def close(self) -> None:
        """Close the file of representations; it is opened again when needed."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def _data(self) -> Dataset:
        if self._file is None or self._process != os.getpid():  # a forked process opens its own
            self._file = open_h5(self.data_file)
            self._process = os.getpid()
        with damage_reported(self.folder, "representations"):
            data = self._file.get(layout.DATA_KEY)
        dtype = np.dtype(layout.DTYPES[self.representation])
        if not isinstance(data, Dataset) or data.ndim != 4 or data.dtype != dtype:
            raise EventDataError(
                f"{self._file.filename} has no dataset '{layout.DATA_KEY}' of shape (N, C, H, W) "
                f"and type {dtype}. Remove the folder and prepare the recording again."
            )
        return data

    def _load_labels(self, num_classes: int) -> list[np.ndarray]:
        """The stored boxes of each frame, px of the sensor."""
        path = self.folder / layout.LABELS
        stored, starts = load_arrays(path, layout.LABELS_KEY, layout.LABEL_STARTS_KEY)
        stored = in_published_fields(stored, path)
        if len(stored) and stored["class_id"].max() >= num_classes:
            raise EventDataError(
                f"{path} holds the class id {stored['class_id'].max()}, but the class map has only "
                f"{num_classes} classes. Name the class map that the folder was prepared with."
            )
        return split_by_frame(stored, starts, path)

    def _chosen(
        self, frames: list[np.ndarray], label_filter: LabelFilter | None
    ) -> list[np.ndarray]:
        """Boxes in px of the representation; frames that the filter empties are taken out."""
        factor = _FACTORS[self.downsample]
        width, height = self.shape[2] * factor, self.shape[1] * factor
        if label_filter is not None:
            chosen = [label_filter.apply(labels, width, height, train=True) for labels in frames]
            self.left_out.update(sum((counts for _, counts in chosen), Counter()))
            left = [i for i, old in enumerate(frames) if len(chosen[i][0]) or not len(old)]
            frames, rows = [chosen[i][0] for i in left], np.array(left, np.int64)
            self.frame_steps = self.frame_steps[rows]
            self.frame_times_us = self.frame_times_us[rows]
        stored = sum(map(len, frames))
        frames = [crop_to_frame(labels, width, height)[0] for labels in frames]
        if factor > 1:
            frames = [scale_boxes(labels, 1 / factor, width, height)[0] for labels in frames]
        self.left_out.update(+Counter(boxes_flat=stored - sum(map(len, frames))))
        return frames

    def _check_lengths(self, labelled: int) -> None:
        lengths = (len(self.timestamps_us), len(self.frame_times_us), labelled)
        expected = (self.num_steps, self.num_frames, self.num_frames)
        empty = self.known_empty_steps
        places = [self.frame_steps, *([] if empty is None else [empty])]
        in_range = all(((steps >= 0) & (steps < self.num_steps)).all() for steps in places)
        ordered = all((np.diff(one) > 0).all() for one in (self.timestamps_us, *places))
        if lengths != expected or not in_range or not ordered:
            raise EventDataError(
                f"The files in {self.folder} do not fit together: time stamps, frame times and "
                f"labelled frames number {lengths}, expected were {expected}, and frames must be "
                f"in order among {self.num_steps} representations. Remove the folder and prepare "
                "it again."
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": -1}


class RvtFolder:
    """A root of prepared recordings.

    With a manifest (our preparation) class map, representation and the way to half resolution must
    be those in it; without (RVT's script) the labels are taken to be in ``class_map`` already, with
    a warning. Another one says that a filter left boxes out of the splits that are evaluated.

    Args:
        root: holds train, val and test.
        class_map: name of the class map, or own classes.
        downsample: way to half resolution; None takes the only one.
        train_filter: which boxes of the split train to take; None takes all, as in val and test.
        representation: "histogram" or "voxel"; None takes the only one.

    Attributes:
        root: holds train, val and test.
        class_map: name of the class map.
        skipped: recordings that could not be opened, with the reason, so far.

    Raises:
        EventDataError: prepared in another way than asked for, or no such folder.
    """

    def __init__(
        self,
        root: Path | str,
        class_map: str,
        downsample: str | None = None,
        train_filter: LabelFilter | None = None,
        representation: str | None = None,
    ) -> None:
        self.root = Path(root)
        self.class_map = get_class_map(class_map)
        self.downsample, self.representation = downsample, representation
        self.train_filter = train_filter
        self.skipped: dict[str, str] = {}
        self._left_out: dict[str, Counter[str]] = {}
        path = self.root / layout.MANIFEST
        if path.exists():
            manifest = read_json(path)
            with damage_reported(path, "the manifest of prepared recordings"):
                settings = settings_of(manifest)
                check_class_map(settings.get("class_map", "unknown"), class_map, self.root)
                wanted = {"downsample": downsample, "representation": representation}
                check_settings(self.root, settings, wanted, self._command("OUT"))
                self._left_out = left_out_boxes(manifest)
                self._warn_of_filter(settings.get("label_filter"))
        elif any((self.root / split).is_dir() for split in layout.SPLITS):
            self._warn_of_unknown_classes()
        else:
            raise EventDataError(
                f"{self.root} holds no prepared recordings (no folder train, val or test). Prepare "
                f"them with `{self._command(self.root)}`."
            )

    def recordings(self, split: str) -> list[RvtRecording]:
        """The recordings of a split, by name.

        Damaged ones, and those that the manifest lists and that are gone, are logged and kept in
        ``skipped``.
        """
        folder = self.root / split
        for key in self._left_out:
            if key.startswith(f"{split}/") and not (self.root / key).is_dir():
                self._skip(key, f"{self.root / key} is gone, but {layout.MANIFEST} lists it.")
        names = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        opened = (self._open(p) for p in names if not p.name.startswith("."))
        return [recording for recording in opened if recording is not None]

    def _skip(self, key: str, reason: str) -> None:
        LOG.warning("left out: %s", reason)
        self.skipped[key] = reason

    def _command(self, out: Path | str) -> str:
        """What makes recordings as they are asked for here."""
        return (
            f"tools/prepare_etram.py RAW {out} --downsample {self.downsample or 'nearest'} "
            f"--class-map {quote(self.class_map.name)}{layout.command_option(self.representation)}"
        )

    def _warn_of_unknown_classes(self) -> None:
        names = ", ".join(f"{i} {name}" for i, name in enumerate(self.class_map.classes))
        LOG.warning(
            "%s has no %s, so another program made it; its class ids are taken to be those of the "
            "class map %s (%s). RVT's own script keeps eTraM's raw ids: for a folder that it made, "
            "dataset.class_map=etram_raw8 is what fits.",
            self.root,
            layout.MANIFEST,
            self.class_map.name,
            names,
        )

    def _warn_of_filter(self, found: dict[str, Any] | None) -> None:
        if not found:
            return
        evaluated = [n for key, n in self._left_out.items() if not key.startswith("train/")]
        LOG.warning(
            "%s was prepared with a filter (%s) that left %d boxes out of val and test; scores of "
            "all boxes (bbox/) are without them. It can be used as it is; prepare the recordings "
            "into another folder to score those boxes, too.",
            self.root,
            ", ".join(f"{name} {value}" for name, value in found.items()),
            sum(sum(counts.values()) for counts in evaluated),
        )

    def _open(self, folder: Path) -> RvtRecording | None:
        key = f"{folder.parent.name}/{folder.name}"
        chosen = self.train_filter if folder.parent.name == "train" else None
        try:
            kind = self.downsample, chosen, self.representation
            found = RvtRecording(folder, len(self.class_map.classes), *kind)
        except EventDataError as error:
            self._skip(key, str(error))
            return None
        found.left_out.update(self._left_out.get(key, {}))
        return found
