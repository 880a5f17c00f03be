"""Images on disk as arrays of 8 bits a channel: the one place where they are read.

What has 8 bits a channel, or fewer, is converted as Pillow does, and Detectron2 with it: black and
white (mode 1), grey (L), palettes (P), CMYK, YCbCr; transparency (LA, PA, RGBA) is dropped. Grey
images of 16 bits (I;16) are scaled from 0-65535, of coloured ones Pillow keeps the upper 8 bits.
Floats (F) within 0-1 are scaled from 0-1. Everything else, of 12 or 32 bits or floats beyond, is in
no range that is known and is refused. Of several frames the first counts. EXIF turns images, as in
Detectron2, whose reader turns TIFFs twice, though: Pillow has done it already.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import simplejpeg
from detectron2.data import detection_utils
from detectron2.utils.file_io import PathManager
from PIL import Image
from PIL.Image import Transpose

from smalldet.data.errors import DataError

Size = tuple[int, int]
"""Width and height, px, of an image as it is shown (EXIF applied)."""

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_BITS_PER_SAMPLE = 258  # tag of TIFF
_JPEG = ("JPEG", "MPO")  # the latter are several in one file, the first of which counts


class DepthError(DataError):
    """The pixels of an image are in no range that is known."""


def read_image(path: Path | str, image_format: str) -> np.ndarray:
    """The image (H, W, C) uint8 in ``image_format``, one of Detectron2's ``read_image``.

    Raises:
        DataError: it is not there, is no image, ends early, or has another depth.
    """
    try:
        with _opened(path) as (image, data):
            return _pixels(image, data, image_format)
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        reason = str(error) if isinstance(error, DepthError) else f"{type(error).__name__}: {error}"
        raise DataError(f"{path} cannot be read as an image ({reason}).") from error


def as_shown(image: Image.Image) -> Image.Image:
    """An opened image, decoded, with 8 bits a channel, and turned as EXIF says.

    Raises:
        DepthError: its pixels have another depth. Pillow raises others where it cannot be decoded.
    """
    image.load()  # PNG may have EXIF behind the pixels; a TIFF is turned now, and then has none
    return _turned(eight_bits(image), _orientation(image))


def eight_bits(image: Image.Image) -> Image.Image:
    """A decoded image with 8 bits a channel.

    Raises:
        DepthError: its pixels have another depth, or are floats beyond 0-1.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values, full = np.asarray(image), 1 if image.mode == "F" else 65535
    low, high = values.min(), values.max()
    if not (_has_known_range(image) and low >= 0 and high <= full):  # NaN is not, either
        raise DepthError(
            f"pixels of mode {image.mode} from {low:g} to {high:g}; expected are 8 bits a channel, "
            "16 bits, from 0 to 65535, or floats from 0 to 1: convert it"
        )
    return Image.fromarray(np.rint(values * (255 / full)).astype(np.uint8))


def channels_first(image: np.ndarray) -> np.ndarray:
    """A copy (C, H, W) of ``image`` (H, W, C), which may be a view, such as a mirrored one."""
    is_mirrored = image.strides[1] < 0
    whole = np.ascontiguousarray(image[:, ::-1] if is_mirrored else image)
    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(cv2.flip(whole, 1) if is_mirrored else whole, list(planes))
    return planes


def check_image(path: Path) -> Size | str:
    """The size of an image that is whole, which is decoded for it, else what is wrong with it.

    Returns:
        One of :data:`smalldet.data.filter.report.FINDINGS` in place of the size.
    """
    try:
        with _opened(path) as (image, data):
            try:
                height, width = _pixels(image, data, "RGB").shape[:2]
                return width, height
            except DepthError:
                return "images_of_other_depth"
            except Exception:
                return "images_cut_short"
    except Exception:  # as of decoders
        return "images_unreadable"


@contextmanager
def _opened(path: Path | str) -> Iterator[tuple[Image.Image, bytes]]:
    """The image, not yet decoded, and the content of its file."""
    with PathManager.open(str(path), "rb") as file:
        data = cast(bytes, file.read())
    with Image.open(io.BytesIO(data)) as image:
        yield image, data


def _pixels(image: Image.Image, data: bytes, image_format: str) -> np.ndarray:
    """(H, W, C) uint8 as shown; see :func:`read_image`."""
    is_jpeg = image.format in _JPEG and image.mode in ("L", "RGB")
    if is_jpeg and image_format in ("RGB", "BGR"):
        try:
            pixels = simplejpeg.decode_jpeg(data, image_format)
        except ValueError as error:
            if "premature end" in str(error).lower():
                raise OSError(f"image file is truncated: {error}") from error
        else:
            orientation = _orientation(image)
            if orientation not in _TURNS:
                return pixels
            return np.asarray(_turned(Image.fromarray(pixels), orientation))
    return detection_utils.convert_PIL_to_numpy(as_shown(image), image_format)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _has_known_range(image: Image.Image) -> bool:
    if image.mode == "I":  # 32 bits; as which older versions of Pillow open PNGs of 16
        return image.format == "PNG"
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
    return image.mode == "F" or tuple(bits) == (16,)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_EXIF_ORIENTATION, 0)
    except Exception:  # as Detectron2: damaged EXIF turns nothing
        return 0
