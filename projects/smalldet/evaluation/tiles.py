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

MERGES = ("nms", "nmm")
Window = tuple[int, int, int, int]  # xyxy, px of the image


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes:
        size: side of a tile, px of the image.
        overlap: share of a side that neighbours have in common; what is smaller than that is whole
            in one of them.
        merge: what becomes of boxes of a class that are one object. "nms" keeps the best of those
            whose IoU is above ``threshold``; "nmm" (:func:`merge_boxes`) makes them one large box.
        threshold: see there.

    Raises:
        ValueError: a size or share out of range, or an unknown way to merge.
    """

    size: int
    overlap: float = 0.2
    merge: str = "nms"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.overlap < 1:
            raise ValueError(
                f"Tiles of {self.size} px with an overlap of {self.overlap} were asked for; "
                "expected at least 1 px and a share of a side below 1, such as 0.2."
            )
        if self.merge not in MERGES:
            raise ValueError(
                f"Tiles cannot be merged by {self.merge!r}; expected {' or '.join(MERGES)}."
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
    it; then NMS or NMM within each class.

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
    if tiling.merge == "nmm":
        boxes, kept = merge_boxes(boxes, scores, classes, tiling.threshold)
    else:
        kept = batched_nms(boxes.float(), scores.float(), classes, tiling.threshold)
        boxes = boxes[kept]
    merged = Instances((height, width))
    merged.pred_boxes = Boxes(boxes)
    merged.scores, merged.pred_classes = scores[kept], classes[kept]
    return merged


def merge_boxes(
    boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum merging (NMM) within each class, as in the paper above.

    From high to low score, each box that is left takes those of its class with which it shares
    more than ``threshold`` of the smaller one's area (intersection over smaller, IoS), and grows to
    hold them all. So the parts of an object that tiles have seen become one box, where NMS would
    keep them; two objects of which one covers the other do, too.

    Args:
        boxes: (N, 4) xyxy_abs.
        scores: (N,).
        classes: (N,) int64.
        threshold: a share of the smaller box.

    Returns:
        Merged boxes (M, 4) and the index (M,) of the best box in each, from high to low score.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    left = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    merged, kept = [], []
    for best in scores.argsort(descending=True, stable=True).tolist():
        if not left[best]:
            continue
        low, high = (
            torch.max(boxes[:, :2], boxes[best, :2]),
            torch.min(boxes[:, 2:], boxes[best, 2:]),
        )
        shared = (high - low).clamp(min=0).prod(dim=1)
        group = (
            left & (classes == classes[best]) & (shared > threshold * areas.clamp(max=areas[best]))
        )
        group[best] = True  # also without area
        left &= ~group
        parts = boxes[group]
        merged.append(torch.cat([parts[:, :2].amin(dim=0), parts[:, 2:].amax(dim=0)]))
        kept.append(best)
    index = torch.tensor(kept, dtype=torch.long, device=boxes.device)
    return torch.stack(merged) if merged else boxes[:0], index


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
