"""A data set of prepared recordings: the config node ``dataset`` of the event line."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, Literal, Protocol

from eventcam.class_maps import get_class_map
from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.io.rvt_folder import RvtFolder
from eventcam.io.rvt_recording import RvtRecording
from eventcam.labels import LabelFilter
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.recording import Preparation
from eventcam.published import as_published
from eventcam.representations import Downsample, RepresentationName

logger = logging.getLogger(__name__)


class Generator(Protocol):
    """Makes raw recordings."""

    def ensure(self, root: Path) -> None:
        """Make the folder ``root`` unless it is there."""
        ...


class EventRecordings:
    """Recordings in RVT's layout with the splits train, val and test; each is opened once.

    Args:
        root: the prepared folder (``tools/prepare_events.py RAW ROOT``).
        class_map: name of the map that it was prepared with, or the list of own classes.
        downsample: which of its representations: "nearest", "sum" or "none".
        name: the splits are registered as ``<name>_train`` and so on; "" takes the folder's name.
        generate: makes raw recordings (in ``<root>_raw``) if they are missing, as
            ``toydata.streets.GeneratedRecordings``; they are prepared on first use.
        train_filter: which boxes are trained on: "published" with the data set that the class map
            names, or others; None trains on all. Val and test keep all boxes: what is scored of
            them is up to the protocols of the evaluation.
        representation: of the events: "histogram", or "voxel" (signed, of half as many channels).
    """

    splits = ("train", "val", "test")

    def __init__(
        self,
        root: str,
        class_map: str | Sequence[str] = "etram_cls8",
        downsample: Downsample = "nearest",
        generate: Generator | None = None,
        name: str = "",
        train_filter: LabelFilter | Literal["published"] | None = "published",
        representation: RepresentationName = "histogram",
    ) -> None:
        self.root = root
        self.name = name or Path(root).resolve().name
        self.class_map = get_class_map(class_map)
        self.downsample: Downsample = downsample
        self.generate = generate
        self.train_filter = (
            as_published(self.class_map.name).label_filter
            if train_filter == "published"
            else train_filter
        )
        self.representation: RepresentationName = representation
        self._folder: RvtFolder | None = None
        self._opened: dict[str, list[RvtRecording]] = {}

    def recordings(self, split: str) -> list[RvtRecording]:
        """The recordings of a split, by name; damaged ones are logged and left out."""
        if split not in self._opened:
            self._opened[split] = self._prepared().recordings(split)
        return self._opened[split]

    def records(self, split: str) -> list[RvtRecording]:
        """The same, under the name by which data sets of all kinds are registered."""
        return self.recordings(split)

    def metadata(self, split: str) -> dict[str, Any]:
        """What a reader of the recordings needs to know besides."""
        return {
            "split": split,
            "root": self.root,
            "class_map": self.class_map,
            "downsample": self.downsample,
            "train_filter": self.train_filter,
            "representation": self.representation,
        }

    def check(self, num_classes: Mapping[str, int], images: int | None) -> None:
        """Compare with the model and the schedule, before the first step.

        Args:
            num_classes: how many classes a head predicts, by its key in the config.
            images: expected labelled frames in the training split; 0 expects some, None that
                nothing is trained, so that val or test is enough.

        Raises:
            EventDataError: a head has another number of classes, or there is nothing to train on
                or to evaluate.
        """
        classes = self.class_map.classes
        for key, found in num_classes.items():
            if found != len(classes):
                raise EventDataError(
                    f"The head predicts {found} classes ({key}.num_classes), but the class map "
                    f"{self.class_map.name} has {len(classes)} ({', '.join(classes)}). Set "
                    f"{key}.num_classes={len(classes)}, or dataset.class_map to the classes of "
                    "the data."
                )
        is_trained = images is not None
        splits = self.splits if is_trained else self.splits[1:]
        frames = {s: sum(r.num_frames for r in self.recordings(s)) for s in splits}
        empty = [
            s for s, count in frames.items() if not count and (s != "test" or self._skipped(s))
        ]
        if not is_trained and any(frames.values()):
            empty = []
        if empty or (images and images != frames["train"]):
            counts = ", ".join(f"{count} in {split}" for split, count in frames.items())
            wanted = f"{images or 'some'} in train, and some in each other"
            raise EventDataError(
                f"{self.root} has {counts} labelled frames; expected were "
                f"{wanted if is_trained else 'some in one of them'}. {self._why_empty(empty)}"
                f"Prepare the recordings with `tools/prepare_events.py RAW {self.root} "
                f"--downsample {self.downsample} --class-map {quote(self.class_map.name)}"
                f"{layout.command_option(self.representation)}`, or correct dataset.root or "
                "train.images."
            )
        found = f"{self.root}: labelled frames {frames}, class map {self.class_map.name}"
        if is_trained:
            left_out = sum((r.left_out for r in self.recordings("train")), Counter())
            reasons = ", ".join(f"{n} {why}" for why, n in left_out.items())
            found += f"; left out of training: {reasons or 'no box'}"
        logger.info(f"{found}.")

    def fingerprint(self) -> str:
        """A checksum of names, labels and lengths of all recordings."""
        digest = hashlib.sha256(self.class_map.name.encode())
        for split in self.splits:
            for recording in self.recordings(split):
                digest.update(f"{split}/{recording.name}/{recording.num_steps}".encode())
                for frame in range(recording.num_frames):
                    for values in recording.boxes(frame):
                        digest.update(values.tobytes())
        return digest.hexdigest()

    def findings(self) -> dict[str, dict[str, int]]:
        """By split, how many recordings cannot be used and which boxes are left out, if any."""
        found = {}
        for split in self.splits:
            counts = sum((one.left_out for one in self.recordings(split)), Counter())
            found[split] = dict(counts + Counter(recordings_left_out=len(self._skipped(split))))
        return {split: counts for split, counts in found.items() if counts}

    def _skipped(self, split: str) -> dict[str, str]:
        """Why recordings of a split cannot be used, by split and name."""
        skipped = self._prepared().skipped
        return {key: why for key, why in skipped.items() if key.startswith(f"{split}/")}

    def _why_empty(self, splits: Sequence[str]) -> str:
        """What was left out of ``splits``, recordings and boxes, and why."""
        reasons = [reason for split in splits for reason in self._skipped(split).items()]
        boxes = sum((r.left_out for s in splits for r in self.recordings(s)), Counter())
        text = ""
        if reasons:
            name, reason = reasons[0]
            text = f"{len(reasons)} recordings were left out, the first one, {name}, because: "
            text += f"{reason} "
        if boxes:
            text += (
                f"Left out of their labels: {', '.join(f'{n} {why}' for why, n in boxes.items())} "
                "(dataset.train_filter says which boxes are trained on). "
            )
        return text

    def _prepared(self) -> RvtFolder:
        """The folder, after what is missing was generated and prepared.

        Each of the two steps holds a lock in its own folder; others who start meanwhile wait.
        """
        if self._folder is not None:
            return self._folder
        if self.generate is not None:
            raw = Path(f"{self.root}_raw")
            self.generate.ensure(raw)
            settings = Preparation(
                self.class_map.name, self.downsample, representation=self.representation
            )
            failed = prepare_all(raw, Path(self.root), settings, workers=0, progress=False).failed
            if failed:
                raise EventDataError(f"Generated recordings could not be prepared: {failed}.")
        self._folder = RvtFolder(
            self.root, self.class_map.name, self.downsample, self.train_filter, self.representation
        )
        return self._folder
