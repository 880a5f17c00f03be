"""What there is to look at: images, videos and recordings behind a path or a pattern."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from eventcam.io import rvt_layout as layout
from eventcam.io.opening import READERS

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
RECORDINGS = tuple(READERS)


@dataclass(frozen=True)
class Inputs:
    """Files by kind, sorted; a recording is an event file or the folder of a prepared one.

    Attributes:
        images, videos, recordings: by kind.
        others: how many files are none of them.
    """

    images: list[Path]
    videos: list[Path]
    recordings: list[Path]
    others: int = 0


def find_inputs(pattern: str) -> Inputs:
    """What a file, a folder or a glob pattern stands for.

    A folder stands for the files in it (not below), or for the prepared recordings in it and up to
    two levels below.

    Raises:
        ValueError: nothing is there.
    """
    path = Path(pattern)
    prepared = _prepared([path] if path.is_dir() else [])
    if path.is_dir():
        found = [] if prepared else sorted(path.iterdir())
    else:
        found = [path] if path.is_file() else sorted(_matching(path))
        prepared = _prepared(one for one in found if one.is_dir())
    files = [one for one in found if one.is_file()]
    images, videos, recordings = (
        [file for file in files if file.suffix.lower() in kind]
        for kind in (IMAGES, VIDEOS, RECORDINGS)
    )
    recordings += prepared
    others = len(files) + len(prepared) - len(images) - len(videos) - len(recordings)
    if not images and not videos and not recordings:
        what = f"holds {others} files of other kinds" if others or path.is_dir() else "is not there"
        raise ValueError(
            f"{pattern} {what}; expected an image, a video, an event recording, a prepared one, or "
            f"a folder or pattern of them ({', '.join([*IMAGES, *VIDEOS, *RECORDINGS])})."
        )
    return Inputs(images, videos, recordings, others)


def _matching(pattern: Path) -> Iterator[Path]:
    """Files and folders that a glob pattern names, seen from here."""
    return Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))


def _prepared(folders: Iterable[Path]) -> list[Path]:
    """Folders of prepared recordings among ``folders`` and up to two levels below."""
    parts = len(layout.LABELS.parts)
    return sorted(
        found.parents[parts - 1]
        for folder in folders
        for depth in ("", "*/", "*/*/")
        for found in folder.glob(f"{depth}{layout.LABELS.as_posix()}")
    )


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image."""
    return path.suffix.lower() in IMAGES


@dataclass(frozen=True)
class Video:
    """A video file, read frame by frame while one iterates: RGB images (H, W, 3) uint8.

    Attributes:
        path: of the file.
        frames_per_second: as the file says, or else 25.
        frames: how many the file says that it has; 0: unknown.
    """

    path: Path
    frames_per_second: float
    frames: int

    @classmethod
    def open(cls, path: Path) -> Video:
        """What the file says of itself.

        Raises:
            ValueError: it cannot be read.
        """
        reader = cv2.VideoCapture(str(path))
        readable, _ = reader.read()
        rate = reader.get(cv2.CAP_PROP_FPS)
        count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        reader.release()
        if not readable:
            raise ValueError(f"{path} cannot be read as a video: OpenCV finds no frame in it.")
        return cls(path, rate if 0 < rate < 1000 else 25.0, max(count, 0))

    def check_end(self, read: int) -> None:
        """Whether ``read`` frames are all; what the file says of itself may be a second off.

        Raises:
            ValueError: there should be more.
        """
        if read < self.frames - self.frames_per_second:
            raise ValueError(
                f"{self.path} ends early: {read} of {self.frames} frames could be read, so its "
                "end is missing in what was written."
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        reader = cv2.VideoCapture(str(self.path))
        try:
            while True:
                readable, frame = reader.read()
                if not readable:
                    return
                yield np.ascontiguousarray(frame[:, :, ::-1])
        finally:
            reader.release()
