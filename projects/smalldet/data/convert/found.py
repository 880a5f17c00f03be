"""What a reader of another format hands on: images with boxes, and what it had to leave out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SPLITS = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
"""Our splits, and what other formats call them."""


class Box(NamedTuple):
    """A labelled object; left, top, width, height in px of the image as it is shown."""

    label: str
    left: float
    top: float
    width: float
    height: float
    ignored: bool = False


@dataclass(frozen=True)
class LabelledImage:
    """An image file, its name below the folder of images, width and height (px), and its boxes."""

    path: Path
    name: str
    size: tuple[int, int]
    boxes: list[Box]


@dataclass
class Found:
    """A data set as it was read.

    Attributes:
        classes: names, in the order of their ids.
        splits: images by our name of the split; a split that is not there is missing.
        notes: by split, how often something was left out or taken as it is not written, by what;
            ``examples`` has the first place of each.
    """

    classes: tuple[str, ...]
    splits: dict[str, list[LabelledImage]] = field(default_factory=dict)
    notes: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)

    def note(self, split: str, what: str, where: object) -> None:
        """Count ``what``, found at ``where``."""
        self.notes.setdefault(split, Counter())[what] += 1
        self.examples.setdefault((split, what), str(where))

    def sentences(self) -> list[str]:
        """A line for each kind of note, with an example."""
        return [
            f"{split}: {count} {what}, such as {self.examples[split, what]}"
            for split, counts in self.notes.items()
            for what, count in counts.items()
        ]
