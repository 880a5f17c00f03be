"""One picture: an image, enlarged, with its boxes. All others are made of these."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pictures.boxes import DARK, BoxSet, Theme, draw_boxes
from pictures.text import write_text


def draw_frame(
    image: np.ndarray,
    truth: BoxSet | None = None,
    predictions: BoxSet | None = None,
    class_names: Sequence[str] | None = (),
    theme: Theme = DARK,
    zoom: float = 1,
    caption: str = "",
    smooth: bool = True,
    is_steady: bool = False,
) -> np.ndarray:
    """A new image, ``zoom`` times as large, with boxes as :func:`draw_boxes` draws them.

    Args:
        image: (H, W, 3) uint8 RGB.
        truth: labelled boxes, px of ``image``.
        predictions: boxes with scores, likewise.
        class_names: by class id; ids beyond it are shown as numbers. None: no labels.
        theme: colours.
        zoom: text keeps its size, so small images want to be enlarged.
        caption: a line at the top left.
        smooth: interpolate, as photographs want; else each px becomes a square, as events want.
        is_steady: a frame of a video, in which labels keep their place above the boxes.
    """
    large = enlarged(image, zoom, smooth)
    draw_boxes(large, truth, predictions, class_names, theme, zoom, is_steady)
    if caption:
        write_text(large, caption, (0, 0), theme.truth, theme.background)
    return large


def enlarged(image: np.ndarray, zoom: float, smooth: bool = True) -> np.ndarray:
    """A copy of an image (H, W, 3) that is ``zoom`` times as large, or smaller if that is below 1.

    Args:
        image: uint8.
        zoom: of both sides.
        smooth: see :func:`draw_frame`.
    """
    if zoom == 1:
        return np.array(image, order="C")
    way = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST
    return cv2.resize(np.ascontiguousarray(image), None, fx=zoom, fy=zoom, interpolation=way)


def zoom_for(width: int, target: int) -> int:
    """The whole-number enlargement that brings ``width`` px to about ``target``."""
    return max(1, round(target / width))
