"""A COCO-format data set with the splits train, valid and test: the config node ``dataset``."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from detectron2.structures import BoxMode

from smalldet.data.errors import DataError
from smalldet.data.files import sha256
from smalldet.data.filter.cache import LAYOUT, SOURCE_NAME, FilteredFile, ensure_filtered
from smalldet.data.filter.classes import checked_merge
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

    Nothing is read before a method asks for it, and each file once.
    :func:`smalldet.data.catalog.register` makes the splits known by name.

    Attributes:
        root: the folder that holds ``train``, ``valid`` and ``test``.
        classes: wanted class names; their order gives the category ids.
        keep_negatives: whether training sees images without a box to learn from. Evaluation
            always does: leaving them out would hide false alarms.
        generate: makes the data set on first use if it is missing, as
            ``toydata.heads.GeneratedHeads``.
        name: the splits are registered as ``<name>_train`` and so on; "" takes the folder's name.
        merge: by wanted class, the source classes that become it, besides one of its own name:
            ``{"head": ["with_mask", "without_mask"]}``.

    Raises:
        DataError: ``merge`` and ``classes`` do not fit.
    """

    root: str
    classes: tuple[str, ...] = ("head",)
    keep_negatives: bool = True
    generate: Generator | None = None
    name: str = ""
    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _filtered: dict[str, FilteredFile] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _records: dict[str, list[dict[str, Any]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            self.classes = (self.classes,)
        self.root, self.classes = str(self.root), tuple(str(name) for name in self.classes)
        self.name = self.name or Path(self.root).resolve().name
        merge = {str(name): [str(old) for old in olds] for name, olds in self.merge.items()}
        self.merge = checked_merge(self.classes, merge)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return SPLITS

    def records(self, split: str) -> list[dict[str, Any]]:
        """The images of a split in Detectron2's format, by image id; see ``keep_negatives``.

        Boxes are xywh_abs in px of the image, categories count from 0.
        """
        if split not in self._records:
            records = _records(self.filtered(split))
            keeps_all = self.keep_negatives or split != "train"
            self._records[split] = records if keeps_all else self._positives(records)
        return self._records[split]

    def metadata(self, split: str) -> dict[str, Any]:
        """For Detectron2's ``MetadataCatalog``; category ids are 1, 2, ..."""
        filtered = self.filtered(split)
        return {
            "split": split,
            "root": self.root,
            "thing_classes": list(self.classes),
            "thing_dataset_id_to_contiguous_id": {n + 1: n for n in range(len(self.classes))},
            "json_file": str(filtered.path),
            "image_root": str(filtered.path.parent),
            "evaluator_type": "coco",
            "annotation_sha256": filtered.checksum,
            "keep_negatives": self.keep_negatives,
        }

    def check(self, num_classes: Mapping[str, int], images: int | None) -> None:
        """Compare with the model and the schedule, before the first step.

        Args:
            num_classes: how many classes a head predicts, by its key in the config.
            images: the config's ``train.images``; 0 expects nothing, nor does None: nothing is
                trained.

        Raises:
            DataError: a head has another number of classes, or the training split another size.
        """
        for key, found in num_classes.items():
            if found != len(self.classes):
                raise DataError(
                    f"The head predicts {found} classes ({key}.num_classes), but the data set "
                    f"{self.root} has {len(self.classes)} ({', '.join(self.classes)}). Set it to "
                    f"{len(self.classes)}, or name the wanted classes in dataset.classes."
                )
        for split in SPLITS:
            self._check_categories(split)
        found = len(self.records("train"))
        if images and found != images:
            report = self.report("train")
            raise DataError(
                f"The config counts on {images} training images (train.images), but {self.root} "
                f"has {found} ({report.images} after filtering, {report.negatives} of them without "
                f"a box; keep_negatives={self.keep_negatives}). The number of iterations depends "
                f"on it: pass train.images={found}, or correct dataset.root."
            )

    def report(self, split: str) -> FilterReport:
        """What filtering left out or changed."""
        return self.filtered(split).report

    def findings(self) -> dict[str, dict[str, int]]:
        """By split, how often filtering left out or changed something, if it did."""
        return {split: dict(counts) for split in SPLITS if (counts := self.report(split).counts)}

    def fingerprint(self) -> str:
        """A checksum of the three filtered files: the same wherever the data lies."""
        checksums = (self.filtered(split).checksum for split in SPLITS)
        return sha256("\n".join(checksums).encode())

    def filtered(self, split: str) -> FilteredFile:
        """The filtered file of a split, up to date; checked once for each object."""
        if split not in self._filtered:
            self._filtered[split] = ensure_filtered(
                self._existing_folder(split), self.classes, self.merge
            )
        return self._filtered[split]

    def _check_categories(self, split: str) -> None:
        filtered, expected = self.filtered(split), list(enumerate(self.classes, start=1))
        found = sorted((entry["id"], entry["name"]) for entry in filtered.content["categories"])
        used = {entry["category_id"] for entry in filtered.content["annotations"]}
        if found != expected or not used <= {number for number, _ in expected}:
            raise DataError(
                f"{filtered.path} lists the categories {found} and uses the ids {sorted(used)}, "
                f"expected was {expected}. Delete that file: it is built again."
            )

    def _positives(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = [record for record in records if _has_target(record)]
        logger.info("keep_negatives=False: %d of %d training images kept", len(kept), len(records))
        if not kept:
            raise DataError(
                f"None of the {len(records)} training images in {self.root} has a box to learn "
                f"from, and dataset.keep_negatives is false. Check the annotations."
            )
        return kept

    def _existing_folder(self, split: str) -> Path:
        if split not in SPLITS:
            raise DataError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
        folder = Path(self.root) / split
        if self.generate is not None:
            self.generate.ensure(Path(self.root))
        if not (folder / SOURCE_NAME).is_file():
            raise DataError(
                f"The data set {self.root} has no {split}/{SOURCE_NAME} ({_what_is_there(folder)})."
                f" {LAYOUT} The folder is set by dataset.root=... or DETECTRON2_DATASETS."
            )
        return folder


def _records(filtered: FilteredFile) -> list[dict[str, Any]]:
    annotations: dict[int, list[dict[str, Any]]] = {}
    for entry in filtered.content["annotations"]:
        annotations.setdefault(entry["image_id"], []).append(
            {
                "bbox": list(entry["bbox"]),
                "bbox_mode": BoxMode.XYWH_ABS,
                "category_id": entry["category_id"] - 1,
                "iscrowd": entry["iscrowd"],
                "area": entry["area"],
            }
        )
    folder = Path(filtered.path).parent
    return [
        {
            "file_name": str(folder / image["file_name"]),
            "image_id": image["id"],
            "height": image["height"],
            "width": image["width"],
            "annotations": annotations.get(image["id"], []),
        }
        for image in filtered.content["images"]
    ]


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
