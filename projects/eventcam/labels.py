"""Boxes of event recordings: cropping, filters, scaling.

Boxes are structured arrays (``eventcam.io.BBOX_DTYPE``): x, y = top-left corner, w, h = size, in
px. A frame of W px spans the coordinates 0 to W - 1 (the published convention: the right edge
x + w is at most W - 1). The arithmetic is in float32, as published.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelFilter:
    """Which boxes are trained on; sizes in px of the full sensor. Evaluation takes them all.

    The defaults are those published for 1280 x 720 recordings (Gehrig and Scaramuzza, "Recurrent
    Vision Transformers for Object Detection with Event Cameras", CVPR 2023). Prophesee's benchmark
    filter is ``LabelFilter(min_side=20, min_diagonal=60)``.

    Attributes:
        min_side: smallest width and smallest height.
        min_diagonal: smallest diagonal.
        max_width_percent: of the sensor; wider boxes are taken for faulty, in training data only.
    """

    min_side: float = 5
    min_diagonal: float = 0
    max_width_percent: int = 90

    def apply(
        self, labels: np.ndarray, width: int, height: int, train: bool
    ) -> tuple[np.ndarray, Counter[str]]:
        """Boxes cropped to the frame and filtered, and how many were dropped, by reason."""
        labels, outside = crop_to_frame(labels, width, height)
        counts = Counter(boxes_outside_frame=outside)
        w, h = labels["w"], labels["h"]
        small = (w < self.min_side) | (h < self.min_side)
        small |= w**2 + h**2 < self.min_diagonal**2
        wide = (w > self.max_width_percent * width // 100) & ~small & train
        counts["boxes_too_small"] = int(np.count_nonzero(small))
        counts["boxes_too_wide"] = int(np.count_nonzero(wide))
        return labels[~(small | wide)], +counts


def crop_to_frame(labels: np.ndarray, width: int, height: int) -> tuple[np.ndarray, int]:
    """Clip all four edges into the frame and drop what has no width or height left.

    Returns:
        The cropped boxes and the number of dropped ones.
    """
    return _with_edges(labels, boxes_xyxy(labels), width, height)


def scale_boxes(
    labels: np.ndarray, scale: float, width: int, height: int
) -> tuple[np.ndarray, int]:
    """Boxes of a ``width`` x ``height`` frame in the px of a frame ``scale`` times as large.

    The right and bottom edges end at the last px of the scaled frame (``scale * width - 1``);
    boxes without width or height there are dropped.

    Returns:
        The scaled boxes and the number of dropped ones.
    """
    edges = boxes_xyxy(labels) * np.float32(scale)
    return _with_edges(labels, edges, width * scale, height * scale)


def boxes_xyxy(labels: np.ndarray) -> np.ndarray:
    """Corners (n, 4) float32, xyxy_abs, in the px of the labels."""
    right, bottom = labels["x"] + labels["w"], labels["y"] + labels["h"]
    return np.stack([labels["x"], labels["y"], right, bottom], axis=1).astype(np.float32)


def _with_edges(
    labels: np.ndarray, edges: np.ndarray, width: float, height: float
) -> tuple[np.ndarray, int]:
    """``labels`` with these edges (n, 4), clipped into the frame, without the flat ones."""
    limits = np.array([width - 1, height - 1] * 2, np.float32)
    left, top, right, bottom = edges.clip(0, limits).T
    moved = labels.copy()
    moved["x"], moved["y"], moved["w"], moved["h"] = left, top, right - left, bottom - top
    kept = (moved["w"] > 0) & (moved["h"] > 0)
    return moved[kept], int(np.count_nonzero(~kept))
