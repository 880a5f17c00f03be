"""Generated data on demand: a whole data set folder, made once, by whoever comes first."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from iopath.common.file_io import file_lock

from smalldet.data.errors import DataError
from smalldet.data.files import write_atomically
from smalldet.data.generated_heads import GENERATOR_VERSION, SPLITS, write_split

MARKER_NAME = "generated.json"
_LOCK_NAME = "generated"  # file_lock adds .lock

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneratedHeads:
    """What to generate: two equal parameter sets give equal files.

    Attributes:
        seed: decides every picture.
        image_size: height and width of the pictures in px.
        train: number of training images; ``valid`` and ``test`` likewise.
    """

    seed: int = 0
    image_size: tuple[int, int] = (160, 160)
    train: int = 48
    valid: int = 16
    test: int = 16

    def __post_init__(self) -> None:
        smallest = min(self.train, self.valid, self.test)
        if smallest < 1 or min(self.image_size) < 64 or self.seed < 0:
            raise DataError(
                f"Generated data needs at least 1 image in each split, sides of at least 64 px and "
                f"a seed of at least 0; asked for was {self}."
            )

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> GeneratedHeads:
        """From a config node; ``image_size`` may be one number or [height, width]."""
        known = [entry.name for entry in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise DataError(
                f"dataset.generate does not know {', '.join(unknown)}; it takes {', '.join(known)}."
            )
        plain = dict(values)
        if "image_size" in plain:
            plain["image_size"] = _as_size(plain["image_size"])
        return cls(**plain)

    def marker(self, complete: bool) -> dict[str, Any]:
        """The content of the marker file."""
        parameters = {**asdict(self), "image_size": list(self.image_size)}
        return {"generator": GENERATOR_VERSION, "parameters": parameters, "complete": complete}


def _as_size(value: int | Sequence[int]) -> tuple[int, int]:
    height, width = (value, value) if isinstance(value, int) else value
    return int(height), int(width)


def ensure_generated(root: Path, wanted: GeneratedHeads) -> None:
    """Generate the data set ``root`` unless it is there already with these parameters.

    A folder that this function did not make is never touched. Others who want the same data at
    the same time wait; what an interrupted run left is made again.

    Raises:
        DataError: ``root`` holds other data, or was generated with other parameters.
    """
    done = wanted.marker(complete=True)
    if _read_marker(root) == done:
        return
    _require_ours(root)
    with file_lock(str(root / _LOCK_NAME)):
        marker = _read_marker(root)
        if marker is not None:
            _check_parameters(root, marker, wanted)
        if marker != done:
            _generate(root, wanted)


def _require_ours(root: Path) -> None:
    """Make ``root``, or see that it is marked as generated or empty."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        strangers = [path.name for path in root.iterdir() if not _is_ours(path.name)]
    except OSError as error:
        raise DataError(
            f"The data set {root} is to be generated, but that folder cannot be made "
            f"({error.strerror}). Set dataset.root=... to a place where you may write."
        ) from error
    # The marker is read after the listing: another process may have put both there meanwhile.
    if strangers and _read_marker(root) is None:
        raise DataError(
            f"{root} is not empty and was not generated ({', '.join(sorted(strangers)[:5])}), so "
            f"it is left alone. To use it as it is, set dataset.generate=null; to generate, set "
            f"dataset.root=... to a new folder."
        )


def _is_ours(name: str) -> bool:
    # What another process, at work at this moment, may have put there.
    return name.startswith((_LOCK_NAME, f".{MARKER_NAME}", ".partial-"))


def _check_parameters(root: Path, marker: dict[str, Any], wanted: GeneratedHeads) -> None:
    asked = wanted.marker(complete=bool(marker.get("complete")))
    if marker != asked:
        differing = [
            f"{key}: {marker.get(key)} there, {asked[key]} asked for"
            for key in ("generator", "parameters")
            if marker.get(key) != asked[key]
        ]
        raise DataError(
            f"{root} was generated with other parameters ({'; '.join(differing)}). Delete that "
            f"folder to make it anew, or set dataset.root=... to another one."
        )


def _generate(root: Path, wanted: GeneratedHeads) -> None:
    """Write each split beside its place and move it there whole. Call with the lock held."""
    _write_marker(root, wanted.marker(complete=False))
    for split in SPLITS:
        images, partial = getattr(wanted, split), root / f".partial-{split}"
        logger.info("Generating %d images in %s", images, root / split)
        for leftover in (partial, root / split):
            shutil.rmtree(leftover, ignore_errors=True)
        write_split(partial, wanted.seed, split, images, wanted.image_size)
        partial.rename(root / split)
    _write_marker(root, wanted.marker(complete=True))


def _read_marker(root: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((root / MARKER_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{root / MARKER_NAME} cannot be read ({error}). If the folder holds generated data, "
            f"delete it and start again."
        ) from error
    return content if isinstance(content, dict) else {}


def _write_marker(root: Path, content: dict[str, Any]) -> None:
    write_atomically(root / MARKER_NAME, json.dumps(content, indent=1).encode())
