"""A detector that is sure of what it sees: bright squares; and images of them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, Instances
from torch import nn

from smalldet.data.augment import ResizeToFit
from smalldet.evaluation.tiles import Tiling
from smalldet.predict.images import ImagePredictor


class SquareFinder(nn.Module):
    """Finds every connected bright region of an image, of class 1 if it is pure red, else 0.

    Scores fall from left to right. As a real detector, it does not see what is under ``least`` px.
    """

    def __init__(self, least: int = 0) -> None:
        super().__init__()
        self.least = least
        self.sizes: list[tuple[int, int]] = []

    def forward(self, inputs):
        return [{"instances": self._find(one)} for one in inputs]

    def _find(self, one) -> Instances:
        image = one["image"].numpy()
        height, width = image.shape[1:]
        self.sizes.append((height, width))
        bright = (image.max(axis=0) > 127).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        boxes = [s[:4] for s in stats[1:] if min(s[2:4]) >= self.least]
        corners = np.array([[x, y, x + w, y + h] for x, y, w, h in boxes], np.float32)
        found = Instances((one["height"], one["width"]))
        found.pred_boxes = Boxes(torch.from_numpy(corners.reshape(-1, 4)))
        found.pred_boxes.scale(one["width"] / width, one["height"] / height)
        found.scores = torch.linspace(0.9, 0.5, len(boxes))
        red = [bool(image[1:, y : y + h, x : x + w].max() <= 127) for x, y, w, h in boxes]
        found.pred_classes = torch.tensor(red, dtype=torch.long)
        return found


def predictor(
    least: int = 0, tiling: Tiling | None = None, resize: int | None = None, keep_aspect=False
):
    """A predictor around a :class:`SquareFinder`."""
    kind = ResizeToFit if keep_aspect else T.Resize
    augmentations = [kind(resize)] if resize else []
    names = ["light", "red"]
    return ImagePredictor(SquareFinder(least), names, augmentations, "RGB", tiling, batch_size=3)


def with_squares(height: int, width: int, corners, side: int = 12, colour=(255, 255, 255)):
    """A dark RGB image with squares at ``corners`` (left, top)."""
    image = np.zeros((height, width, 3), np.uint8)
    for left, top in corners:
        image[top : top + side, left : left + side] = colour
    return image


def boxes_of(found: Instances) -> list[tuple[float, ...]]:
    """Boxes as tuples, from left to right."""
    return sorted(map(tuple, found.pred_boxes.tensor.tolist()))
