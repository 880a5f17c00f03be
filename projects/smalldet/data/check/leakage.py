"""Images that two splits share: what is tested on was trained on, and scores are too good.

Identical files are found by checksum, others by a difference hash in both directions: is a cell of
an 8 x 8 picture brighter than its left neighbour, and than its upper one? A copy of another size,
quality or crop differs in few of these 128 answers, and so do neighbouring frames of a video.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from smalldet.data.files import sha256
from smalldet.data.images import as_shown

CELLS = 8
BITS = 2 * CELLS**2
NEAR = 24  # of BITS; pictures of other things differ in more than 30
_CHUNK = 1024


@dataclass(frozen=True)
class Fingerprints:
    """What N images are compared by.

    Attributes:
        files: N paths.
        checksums: N of the files' bytes.
        hashes: (N, BITS) float32, +1 or -1.
        broken: files that are gone or cannot be decoded; not among ``files``.
    """

    files: list[str] = field(default_factory=list)
    checksums: list[str] = field(default_factory=list)
    hashes: np.ndarray = field(default_factory=lambda: np.zeros((0, BITS), np.float32))
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Leak:
    """An image that another split has, too; ``bits`` of their hashes differ (None: identical)."""

    file: str
    other: str
    bits: int | None


def fingerprints(files: Sequence[str]) -> Fingerprints:
    """Read each image once and hash it."""
    found, hashes = Fingerprints(), []
    for file in files:
        try:
            data = Path(file).read_bytes()
            hashes.append(difference_hash(data))
        except Exception:  # Pillow's decoders raise nearly anything on broken files
            found.broken.append(file)
            continue
        found.files.append(file)
        found.checksums.append(sha256(data))
    stacked = np.array(hashes, np.float32).reshape(-1, BITS)
    return Fingerprints(found.files, found.checksums, stacked, found.broken)


def difference_hash(data: bytes) -> np.ndarray:
    """(BITS,) float32 of +1 and -1 for an encoded image.

    Raises:
        OSError: it cannot be decoded; Pillow has other kinds of error, too.
        DepthError: its pixels have no known range.
    """
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", (8 * CELLS, 8 * CELLS))  # a JPEG is decoded at a fraction of its size
        grey = as_shown(image).convert("L")
    side = CELLS + 1
    cells = np.asarray(grey.resize((side, side), Image.Resampling.BOX), dtype=np.int16)
    brighter = cells[:-1, 1:] > cells[:-1, :-1], cells[1:, :-1] > cells[:-1, :-1]
    return np.where(np.concatenate([part.ravel() for part in brighter]), 1, -1).astype(np.float32)


def leaks_between(first: Fingerprints, second: Fingerprints) -> list[Leak]:
    """The images of ``second`` that ``first`` has, too, each with its nearest there."""
    if not first.files:
        return []
    same, leaks = dict(zip(first.checksums, first.files, strict=True)), []
    for start in range(0, len(second.files), _CHUNK):
        part = slice(start, start + _CHUNK)
        bits = (BITS - second.hashes[part] @ first.hashes.T) / 2
        nearest = bits.argmin(axis=1)
        pairs = zip(second.files[part], second.checksums[part], nearest, bits, strict=True)
        for file, checksum, index, row in pairs:
            if checksum in same:
                leaks.append(Leak(file, same[checksum], None))
            elif row[index] <= NEAR:
                leaks.append(Leak(file, first.files[index], int(row[index])))
    return leaks


def leakage_report(splits: Mapping[str, Fingerprints], shown: int = 3) -> str:
    """A line for each finding and up to ``shown`` examples; a sentence if there is none."""
    found = {}
    for name, prints in splits.items():
        times = Counter(prints.checksums)
        pairs = zip(prints.files, prints.checksums, strict=True)
        repeated = [Path(file).name for file, checksum in pairs if times[checksum] > 1]
        found[f"images of {name} cannot be decoded"] = [Path(file).name for file in prints.broken]
        found[f"images of {name} are there more than once"] = repeated
    for (one, first), (two, second) in combinations(splits.items(), 2):
        leaks = leaks_between(first, second)
        for near, are in ((False, "are identical to"), (True, "look like")):
            found[f"images of {two} {are} one of {one}"] = [
                f"{Path(leak.file).name}  {Path(leak.other).name}"
                for leak in leaks
                if (leak.bits is not None) == near
            ]
    lines = [
        "\n  ".join([f"{len(names)} {what}:", *names[:shown], *["..."] * (len(names) > shown)])
        for what, names in found.items()
        if names
    ]
    return "\n".join(lines) or "No image is in two splits, or twice in one."
