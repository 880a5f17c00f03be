"""A data set of painted scenes with people: what can be asked for, and making it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from toydata.folder import GeneratedDataError, ensure_folder
from toydata.heads.images import GENERATOR_VERSION, SPLITS, write_split


@dataclass(frozen=True)
class GeneratedHeads:
    """What to generate: two equal parameter sets give equal files.

    Attributes:
        seed: decides every picture.
        image_size: side of the pictures, or height and width, px.
        train: number of training images; ``valid`` and ``test`` likewise.
    """

    seed: int = 0
    image_size: Any = 160  # OmegaConf opens the dataclass and knows no union with a list
    train: int = 48
    valid: int = 16
    test: int = 16

    def __post_init__(self) -> None:
        smallest = min(self.train, self.valid, self.test)
        if smallest < 1 or min(self.height_width) < 64 or self.seed < 0:
            raise GeneratedDataError(
                f"Generated data needs at least 1 image in each split, sides of at least 64 px and "
                f"a seed of at least 0; asked for was {self}."
            )

    @property
    def height_width(self) -> tuple[int, int]:
        """Size of the pictures, px."""
        size = self.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(height), int(width)

    def ensure(self, root: Path) -> None:
        """Paint the data set ``root`` unless it is there; see :func:`ensure_folder`."""
        writers = {
            split: partial(
                write_split,
                seed=self.seed,
                split=split,
                images=getattr(self, split),
                size=self.height_width,
            )
            for split in SPLITS
        }
        parameters = asdict(self) | {"image_size": list(self.height_width)}
        ensure_folder(root, GENERATOR_VERSION, parameters, writers)
