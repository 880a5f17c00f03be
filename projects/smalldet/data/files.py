"""Reading and writing data files so that several processes may start together."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from runfolder.files import write_bytes
from smalldet.data.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_EXIF_ORIENTATION = 0x0112
_TURNED = frozenset({5, 6, 7, 8})  # orientations that swap width and height
_ORIENTED_BY = frozenset({"exif", "Raw profile type exif", "XML:com.adobe.xmp"})


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

    Hidden files and folders are left out: file managers put previews there.
    """
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(place, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def listing_checksum(folder: Path, names: Iterable[str]) -> str:
    """Changes when a file is added, removed, renamed or becomes longer or shorter."""
    lines = (f"{name}\t{(folder / name).stat().st_size}\n" for name in names)
    return sha256("".join(lines).encode("utf-8", "surrogateescape"))


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height in px as the image is shown (EXIF applied); None if it is no image.

    Reads the header only.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if _orientation(image) in _TURNED:
                return height, width
            return width, height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _orientation(image: Image.Image) -> int | None:
    # Asking a PNG for EXIF decodes all of it; without one of these entries it has none.
    if image.format == "PNG" and not _ORIENTED_BY & image.info.keys():
        return None
    return image.getexif().get(_EXIF_ORIENTATION)


def same_name(name: str) -> str:
    """One spelling for file names whose accents were stored in different Unicode forms."""
    return unicodedata.normalize("NFC", name)
