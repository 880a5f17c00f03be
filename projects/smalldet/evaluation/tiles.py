"""Sliced inference: a large image in overlapping tiles, so that small objects are seen large.

F. C. Akyon et al., "Slicing Aided Hyper Inference and Fine-tuning for Small Object Detection",
arXiv 2202.06934: the detector sees each tile as if it were an image, and the whole image besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torchvision.ops import batched_nms

Window = tuple[int, int, int, int]  # xyxy, px of the image


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes:
        size: side of a tile, px of the image.
        overlap: share of a side that neighbours have in common; what is smaller than that is whole
            in one of them.
        nms_threshold: boxes of a class that overlap more (IoU) are one object.

    Raises:
        ValueError: a size or share out of range.
    """

    size: int
    overlap: float = 0.2
    nms_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.overlap < 1:
            raise ValueError(
                f"Tiles of {self.size} px with an overlap of {self.overlap} were asked for; "
                "expected at least 1 px and a share of a side below 1, such as 0.2."
            )

    def windows(self, height: int, width: int) -> list[Window]:
        """The whole image and, if it is larger than a tile, its tiles."""
        tiles = [
            (x, y, min(x + self.size, width), min(y + self.size, height))
            for y in self._starts(height)
            for x in self._starts(width)
        ]
        return [(0, 0, width, height), *(tiles if len(tiles) > 1 else [])]

    def _starts(self, length: int) -> list[int]:
        """Where tiles begin along a side: evenly, the first at 0, the last flush with the end."""
        room = length - self.size
        if room <= 0:
            return [0]
        steps = -(-room // max(1, int(self.size * (1 - self.overlap))))
        return [round(room * step / steps) for step in range(steps + 1)]


def detect_tiled(
    detect: Callable[[Sequence[np.ndarray]], list[Instances]], image: np.ndarray, tiling: Tiling
) -> Instances:
    """Detections on an image and its tiles, as those of one image.

    Args:
        detect: gives the detections on each of some images, in px of that image.
        image: (H, W, C).
        tiling: how it is cut.
    """
    windows = tiling.windows(*image.shape[:2])
    parts = [image[top:bottom, left:right] for left, top, right, bottom in windows]
    return merge(detect(parts), windows, tiling)


def merge(found: Sequence[Instances], windows: Sequence[Window], tiling: Tiling) -> Instances:
    """Detections of the whole image and of its tiles as those of one image.

    What a tile's inner border cuts is left to the neighbour or the whole image, which see all of
    it; then class-wise NMS.

    Args:
        found: of each window, ``pred_boxes`` (xyxy_abs, px of that window), ``scores`` and
            ``pred_classes``; the whole image first.
        windows: where they lie.
        tiling: of the image.

    Returns:
        Detections in px of the image, from high to low score.
    """
    _, _, width, height = windows[0]
    parts = [
        _uncut(one, window, (width, height)) for one, window in zip(found, windows, strict=True)
    ]
    boxes, scores, classes = (torch.cat(column) for column in zip(*parts, strict=True))
    kept = batched_nms(boxes.float(), scores.float(), classes, tiling.nms_threshold)
    merged = Instances((height, width))
    merged.pred_boxes = Boxes(boxes[kept])
    merged.scores, merged.pred_classes = scores[kept], classes[kept]
    return merged


_BORDER = 1.0  # px within which a box counts as cut


def _uncut(
    found: Instances, window: Window, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes in px of the image, scores and classes of what no inner border of the window cuts."""
    left, top, right, bottom = window
    boxes = found.pred_boxes.tensor
    offset, sides = (
        boxes.new_tensor([left, top] * 2),
        boxes.new_tensor([right - left, bottom - top]),
    )
    inner_low = boxes.new_tensor([left > 0, top > 0]).bool()
    inner_high = boxes.new_tensor([right < size[0], bottom < size[1]]).bool()
    is_cut = (boxes[:, :2] < _BORDER) & inner_low | (boxes[:, 2:] > sides - _BORDER) & inner_high
    whole = ~is_cut.any(dim=1)
    return (boxes + offset)[whole], found.scores[whole], found.pred_classes[whole]
