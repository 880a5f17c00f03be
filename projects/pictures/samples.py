"""Training images with their boxes, as they go into the model, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2

from pictures.boxes import BoxSet, draw_boxes
from pictures.sheet import contact_sheet, fitted, write_image


def write_samples_sheet(samples: Iterable[Mapping[str, Any]], path: Path, side: int = 320) -> int:
    """Write a contact sheet of Detectron2's dicts; return how many there were.

    Args:
        samples: each with ``image`` (3, H, W) uint8 and ``instances`` with ``gt_boxes`` (xyxy_abs,
            px of the image) and ``gt_classes``, as tensors.
        path: a ``.png`` file.
        side: of each picture, px.

    Raises:
        ValueError: the file is named otherwise.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"Training images make a contact sheet; {path} must end in .png.")
    tiles = []
    for sample in samples:
        image = sample["image"].numpy().transpose(1, 2, 0)
        scale, gt = side / max(image.shape[:2]), sample["instances"]
        boxes = BoxSet(gt.gt_boxes.tensor.numpy(), gt.gt_classes.numpy())
        tiles.append(cv2.resize(image, None, fx=scale, fy=scale))
        draw_boxes(tiles[-1], truth=boxes, zoom=scale)
    write_image(path, contact_sheet([fitted(tile, side) for tile in tiles]))
    return len(tiles)
