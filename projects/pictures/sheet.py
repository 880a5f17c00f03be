"""Pictures side by side, and writing them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pictures.boxes import DARK, Theme


def contact_sheet(
    images: Sequence[np.ndarray], columns: int = 4, gap: int = 6, theme: Theme = DARK
) -> np.ndarray:
    """Images (H, W, 3) side by side, row by row, each in a place as large as the largest asks for.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("A contact sheet needs at least one image; found were none.")
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    ground = [min(part + 30, 255) if part < 128 else part - 30 for part in theme.background]
    size = (rows * (height + gap) + gap, columns * (width + gap) + gap, 1)
    sheet = np.tile(np.array(ground, np.uint8), size)
    for number, image in enumerate(images):
        y = gap + number // columns * (height + gap)
        x = gap + number % columns * (width + gap)
        sheet[y : y + height, x : x + width] = theme.background
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
    return sheet


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an RGB image in the format that the file's ending names; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # imencode and write_bytes: cv2.imwrite cannot write to every unicode path on every system.
    _, data = cv2.imencode(path.suffix, np.ascontiguousarray(image[:, :, ::-1]))
    path.write_bytes(data.tobytes())
