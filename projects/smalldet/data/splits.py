"""A COCO-format data set with the splits train, valid and test: the config node ``dataset``."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from smalldet.data.catalog import dataset_dicts, register_split
from smalldet.data.errors import DataError
from smalldet.data.files import sha256
from smalldet.data.filter.cache import LAYOUT, SOURCE_NAME, FilteredFile, ensure_filtered
from smalldet.data.filter.report import FilterReport

SPLITS = ("train", "valid", "test")

logger = logging.getLogger(__name__)


def default_root(name: str = "coco") -> Path:
    """Where the data set ``name`` lies: below ``DETECTRON2_DATASETS``, or else ``datasets``."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets") / name


class Generator(Protocol):
    """Makes a data set."""

    def ensure(self, root: Path) -> None:
        """Make the data set ``root`` unless it is there."""
        ...


@dataclass
class CocoSplits:
    """Three splits, each a folder with images and an exported ``_annotations.coco.json``.

    Nothing is read before a method asks for it.

    Attributes:
        root: the folder that holds ``train``, ``valid`` and ``test``.
        classes: wanted class names; their order gives the category ids.
        keep_negatives: whether training sees images without a box to learn from. Evaluation
            always does: leaving them out would hide false alarms.
        generate: makes the data set on first use if it is missing, as
            ``toydata.heads.GeneratedHeads``.
    """

    root: str
    classes: tuple[str, ...] = ("head",)
    keep_negatives: bool = True
    generate: Generator | None = None
    _filtered: dict[str, FilteredFile] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            self.classes = (self.classes,)
        self.root, self.classes = str(self.root), tuple(str(name) for name in self.classes)

    def register(self) -> dict[str, str]:
        """Register the three splits with Detectron2; the names by split.

        Raises:
            DataError: a split is missing or unusable, or a name is taken by other content.
        """
        for split in SPLITS:
            register_split(self.name(split), self.filtered(split), self.classes)
        return {split: self.name(split) for split in SPLITS}

    def name(self, split: str) -> str:
        """The registered name: two data sets that differ in folder or classes never share one."""
        identity = "\n".join((str(Path(self.root).resolve()), *self.classes))
        return f"{Path(self.root).resolve().name}_{split}_{sha256(identity.encode())[:8]}"

    def dicts(self, split: str) -> list[dict[str, Any]]:
        """The images of a split in Detectron2's format, by image id; see ``keep_negatives``."""
        records = dataset_dicts(self.filtered(split))
        if self.keep_negatives or split != "train":
            return records
        kept = [record for record in records if _has_target(record)]
        logger.info("keep_negatives=False: %d of %d training images kept", len(kept), len(records))
        if not kept:
            raise DataError(
                f"None of the {len(records)} training images in {self.root} has a box to learn "
                f"from, and dataset.keep_negatives is false. Check the annotations."
            )
        return kept

    def check(self, head_widths: Collection[int], images: int) -> None:
        """Compare with the model and the schedule, before the first step.

        Args:
            head_widths: numbers of classes that the model's heads predict.
            images: the config's ``train.images``.

        Raises:
            DataError: a head has another number of classes, or the training split another size.
        """
        from smalldet.data.checks import check_classes, check_image_count

        for width in sorted(head_widths):
            check_classes(self, width)
        check_image_count(self, images)

    def annotation_file(self, split: str) -> Path:
        """The filtered annotation file, up to date."""
        return self.filtered(split).path

    def image_root(self, split: str) -> Path:
        """The folder that the file names of a split are relative to."""
        return self._folder(split)

    def report(self, split: str) -> FilterReport:
        """What filtering left out or changed."""
        return self.filtered(split).report

    def fingerprint(self) -> str:
        """A checksum of the three filtered files: the same wherever the data lies."""
        checksums = (self.filtered(split).checksum for split in SPLITS)
        return sha256("\n".join(checksums).encode())

    def filtered(self, split: str) -> FilteredFile:
        """The filtered file of a split; checked once for each object."""
        if split not in self._filtered:
            self._filtered[split] = ensure_filtered(self._existing_folder(split), self.classes)
        return self._filtered[split]

    def _folder(self, split: str) -> Path:
        if split not in SPLITS:
            raise DataError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
        return Path(self.root) / split

    def _existing_folder(self, split: str) -> Path:
        folder = self._folder(split)
        if self.generate is not None:
            self.generate.ensure(Path(self.root))
        if not (folder / SOURCE_NAME).is_file():
            raise DataError(
                f"The data set {self.root} has no {split}/{SOURCE_NAME} ({_what_is_there(folder)})."
                f" {LAYOUT} The folder is set by dataset.root=... or DETECTRON2_DATASETS."
            )
        return folder


def _has_target(record: Mapping[str, Any]) -> bool:
    return any(not entry["iscrowd"] for entry in record["annotations"])


def _what_is_there(folder: Path) -> str:
    if folder.is_dir():
        files = sorted(path.name for path in folder.iterdir())
        return f"the folder is there, with {len(files)} files: {', '.join(files[:3]) or 'none'}"
    if folder.parent.is_dir():
        found = sorted(path.name for path in folder.parent.iterdir())
        return f"found there: {', '.join(found[:6]) or 'nothing'}"
    return f"{folder.parent} does not exist, seen from {Path.cwd()}"
