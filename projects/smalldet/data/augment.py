"""Augmentations that Detectron2 lacks, and the input that carries boxes through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2.data import transforms as T

from nativecode import UsesKernels
from smalldet.data.resize import KERNEL, ResizeTransform


class LabelledImage(T.AugInput):
    """An image whose boxes are cut to it after each step, so that none grows into later padding.

    Attributes:
        image: (H, W, C).
        boxes: (N, 4) float64 xyxy_abs, px of ``image``.
        classes: (N,) int64.
        visible: (N,) share of its area that is left of each box, 0 to 1.
        image_format: order of the channels, as Detectron2's ``read_image`` takes it.
    """

    image: Any  # fvcore's abstract apply_image reads as None
    boxes: Any

    def __init__(
        self,
        image: np.ndarray,
        boxes: np.ndarray,
        classes: np.ndarray,
        image_format: str = "RGB",
    ) -> None:
        super().__init__(image, boxes=boxes_inside(boxes, image.shape[:2]))
        self.classes, self.visible = classes, np.ones(len(boxes))
        self.image_format = image_format

    def transform(self, tfm: T.Transform) -> None:
        """Apply ``tfm`` to image and boxes, and cut what reaches out of the image."""
        super().transform(tfm)
        whole = self.boxes
        self.boxes = boxes_inside(whole, self.image.shape[:2])
        self.visible = self.visible * areas(self.boxes) / np.maximum(areas(whole), 1e-9)


class ResizeToFit(UsesKernels, T.Augmentation):
    """Resize to the largest image of the same aspect ratio that fits.

    Detectors pad it at the bottom or right as their backbone needs, and give boxes without that.

    Args:
        shape: height and width to fit into, px; a number for both.
    """

    kernels = (KERNEL,)

    def __init__(self, shape: int | Sequence[int]) -> None:
        super().__init__()
        self.shape = height_and_width(shape)

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """The resize of ``image`` (H, W, C); a side is at least 1 px."""
        height, width = image.shape[:2]
        scale = min(self.shape[0] / height, self.shape[1] / width)
        new_height, new_width = (max(1, round(scale * side)) for side in (height, width))
        return ResizeTransform(height, width, new_height, new_width)


class CropAroundBox(T.Augmentation):
    """Cut out a random window around one of the boxes, drawn at random; all of it, if it fits.

    Sides that are smaller than the window stay as they are; nothing is padded. Without boxes the
    window lies anywhere.

    Args:
        crop_size: height and width of the window, px; a number for both.
    """

    def __init__(self, crop_size: int | Sequence[int]) -> None:
        super().__init__()
        self.crop_size = height_and_width(crop_size)

    def get_transform(self, image: np.ndarray, boxes: np.ndarray | None) -> T.Transform:
        """The crop of ``image`` (H, W, C) with ``boxes`` (N, 4) xyxy_abs."""
        height, width = image.shape[:2]
        sides = np.minimum(self.crop_size[::-1], (width, height))
        room = (width, height) - sides
        low, high = np.zeros(2, int), room
        if boxes is not None and len(boxes):
            start, end = boxes[np.random.randint(len(boxes))].reshape(2, 2)
            # A window that holds the box begins in this range; one that is inside it, too.
            first, last = np.sort([start, end - sides], axis=0)
            low, high = np.clip([np.ceil(first), np.floor(last)], 0, room).astype(int)
        left, top = np.random.randint(low, np.maximum(low, high) + 1)
        return T.CropTransform(int(left), int(top), *map(int, sides))


def boxes_inside(boxes: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """What of ``boxes`` (N, 4) xyxy is inside an image of ``size``, height and width."""
    height, width = size
    return np.clip(boxes, 0, [width, height, width, height])


def areas(boxes: np.ndarray) -> np.ndarray:
    """(N,) areas of ``boxes`` (N, 4) xyxy."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Both sides, px, of what a number means for both."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width
