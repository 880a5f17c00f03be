"""Counts of events as RGB images (H, W, 3) uint8, blue where it grew brighter, orange darker."""

from __future__ import annotations

import numpy as np

from pictures.boxes import DARK, Theme

_COUNT_SCALE = 0.7  # events on a pixel after which its colour is 63 % there


def count_histogram(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ON and OFF events per pixel, (H, W) each, that a representation tells of.

    Args:
        histogram: a stacked histogram (2 * bins, H, W) of integers, whose first half is OFF; or a
            voxel grid (bins, H, W) of a floating type, whose negative values are OFF. There, what
            cancelled within a bin is not seen.

    Raises:
        ValueError: it has another shape.
    """
    if histogram.ndim == 3 and np.issubdtype(histogram.dtype, np.floating):
        values = histogram.astype(np.float32)
        return values.clip(min=0).sum(axis=0), -values.clip(max=0).sum(axis=0)
    if histogram.ndim != 3 or histogram.shape[0] % 2:
        raise ValueError(
            f"A stacked histogram has the shape (2 * bins, H, W), a voxel grid (bins, H, W); this "
            f"one is {histogram.shape}."
        )
    bins = histogram.shape[0] // 2
    off, on = (part.sum(axis=0, dtype=np.int64) for part in (histogram[:bins], histogram[bins:]))
    return on, off


def counts_to_image(on: np.ndarray, off: np.ndarray, theme: Theme = DARK) -> np.ndarray:
    """Colour per pixel: the more events, the farther from the background.

    Args:
        on: (H, W) number of events, whole or not, that report "brighter"; ``off`` likewise
            "darker".
        theme: colours.
    """
    total = on + off
    strength = 1 - np.exp(-total.astype(np.float32) / _COUNT_SCALE)
    share = (on / np.where(total > 0, total, 1)).astype(np.float32)
    background, brighter, darker = (
        np.array(colour, np.float32) for colour in (theme.background, theme.brighter, theme.darker)
    )
    colour = darker + share[:, :, None] * (brighter - darker)
    image = background + strength[:, :, None] * (colour - background)
    return np.round(image).astype(np.uint8)
