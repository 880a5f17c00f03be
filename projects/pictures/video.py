"""Videos that browsers play: VP9 in an MP4 container (pip's OpenCV has no H.264 encoder)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

CODEC = "vp09"
_READS_BACK_AS = {"vp09", "VP90", "vp90", "VP09"}


def write_video(path: Path, images: Iterable[np.ndarray], frames_per_second: float) -> int:
    """Write RGB images (H, W, 3) uint8, all of one size, as MP4; its folder is made.

    The file appears under its name only when it is whole. Odd sides lose their last row or
    column, which the codec asks for.

    Returns:
        Number of images written.

    Raises:
        ValueError: no image, images of several sizes, or this OpenCV has no VP9 encoder.
    """
    waiting = iter(images)
    first = next(waiting, None)
    if first is None:
        raise ValueError(f"There is no image for {path}; a video needs at least one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.in_progress.mp4")
    try:
        written = _encode(partial, chain([first], waiting), first.shape, frames_per_second)
        _check(partial, written)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return written


def _encode(
    path: Path, images: Iterable[np.ndarray], shape: tuple[int, ...], frames_per_second: float
) -> int:
    height, width = (side - side % 2 for side in shape[:2])
    code = cv2.VideoWriter.fourcc(*CODEC)
    writer = cv2.VideoWriter(str(path), code, frames_per_second, (width, height))
    try:
        if not writer.isOpened():
            raise ValueError(_no_codec())
        written = 0
        for image in images:
            if image.shape != shape:
                raise ValueError(
                    f"Image {written} of the video has the shape {image.shape}, the first one "
                    f"{shape}; all images of a video have one size."
                )
            writer.write(np.ascontiguousarray(image[:height, :width, ::-1]))
            written += 1
        return written
    finally:
        writer.release()


def _check(path: Path, written: int) -> None:
    """Read the file back: some builds of OpenCV write an empty one without complaint."""
    reader = cv2.VideoCapture(str(path))
    try:
        code = int(reader.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        codec = code.to_bytes(4, "little").decode("latin-1")
        readable, _ = reader.read()
        frames = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        reader.release()
    if not readable or frames != written or codec not in _READS_BACK_AS:
        raise ValueError(
            f"The video was written but reads back as {frames} of {written} images, codec "
            f"{codec!r}. {_no_codec()}"
        )


def _no_codec() -> str:
    return (
        f"OpenCV {cv2.__version__} cannot write VP9 ({CODEC}) into MP4 here. Install OpenCV from "
        f"PyPI (opencv-python), which brings its own FFmpeg, or write a .png instead."
    )
