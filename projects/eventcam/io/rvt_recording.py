"""Reading one prepared recording, ours or one that RVT's own script made.

The layout is in :mod:`eventcam.io.rvt_layout`. Coordinates here are px of the representation: at
half resolution the stored boxes, which are in px of the sensor, are halved by the published rule.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.io.arrays import damage_reported, load_arrays, load_indices
from eventcam.io.bbox import in_published_fields, split_by_frame
from eventcam.io.hdf5 import Dataset, File, Rows, open_h5
from eventcam.labels import LabelFilter, boxes_xyxy, crop_to_frame, scale_boxes

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
            flat in px of the representation and, opened through
            :class:`eventcam.io.rvt_folder.RvtFolder`, what a filter of the preparation left out.

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
        self._stored: Rows | None = None
        self._process = -1
        data = self._rows().data
        self.num_steps, *shape = data.shape
        self.shape: tuple[int, int, int] = tuple(shape)
        self.dtype = data.dtype
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
            return self._rows().read(start, stop)

    def boxes(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (n, 4) float32 xyxy_abs, px of the representation, and classes (n,) int64."""
        labels = self._labels[frame]
        return boxes_xyxy(labels), labels["class_id"].astype(np.int64)

    def close(self) -> None:
        """Close the file of representations; it is opened again when needed."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = self._stored = None

    def _rows(self) -> Rows:
        if self._stored is None or self._process != os.getpid():  # a forked process opens its own
            self._file, self._process = open_h5(self.data_file), os.getpid()
            data = self._data(self._file)
            with damage_reported(self.folder, "representations"):
                self._stored = Rows(data)
        return self._stored

    def _data(self, file: File) -> Dataset:
        with damage_reported(self.folder, "representations"):
            data = file.get(layout.DATA_KEY)
        dtype = np.dtype(layout.DTYPES[self.representation])
        if not isinstance(data, Dataset) or data.ndim != 4 or data.dtype != dtype:
            raise EventDataError(
                f"{file.filename} has no dataset '{layout.DATA_KEY}' of shape (N, C, H, W) "
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
        return {**self.__dict__, "_file": None, "_stored": None, "_process": -1}
