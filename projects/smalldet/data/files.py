"""Reading and writing data files so that several processes may start together."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from runfolder.files import write_bytes
from smalldet.data.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def sha256(data: bytes) -> str:
    """Hexadecimal checksum."""
    return hashlib.sha256(data).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``path`` in one step: a reader sees the old file or the whole new one.

    Raises:
        DataError: the folder cannot be written to.
    """
    try:
        write_bytes(path, data)
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be written to {path.parent} ({error.strerror}). Let a user who "
            f"may write there run `python datasets/register_custom_coco.py` once (afterwards the "
            f"folder may be read-only), or copy the data to a folder of your own."
        ) from error


def list_images(folder: Path) -> list[str]:
    """Image files below ``folder``, sorted, as paths relative to it with forward slashes.

    Links to nothing are left out, and hidden files and folders: file managers put previews there.
    """
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(place, name)
            is_image = path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
            if is_image and path.is_file():
                names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def listing_checksum(folder: Path, names: Iterable[str]) -> str:
    """Changes when a file is added, removed, renamed or becomes longer or shorter."""
    lines = (f"{name}\t{(folder / name).stat().st_size}\n" for name in names)
    return sha256("".join(lines).encode("utf-8", "surrogateescape"))


def same_name(name: str) -> str:
    """One spelling for file names whose accents were stored in different Unicode forms."""
    return unicodedata.normalize("NFC", name)
