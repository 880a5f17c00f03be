"""Pictures of what a model found, beside what was there."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

TRUTH = (90, 200, 255)  # RGB; blue and orange stay apart for colour-blind eyes
FOUND = (255, 140, 0)
HEADER = 24  # px


def draw_boxes(
    image: np.ndarray, boxes: Sequence[Sequence[float]], color: tuple[int, int, int], scale: float
) -> np.ndarray:
    """A copy of ``image`` (H, W, 3, RGB uint8) with outlined boxes.

    Args:
        image: already enlarged by ``scale``.
        boxes: xywh in pixels of the image before it was enlarged.
        color: RGB.
        scale: pixels of ``image`` per pixel of the boxes.
    """
    image = image.copy()
    for x, y, w, h in boxes:
        corners = np.rint(np.array([x, y, x + w, y + h]) * scale).astype(int)
        cv2.rectangle(image, corners[:2].tolist(), corners[2:].tolist(), color, 2, cv2.LINE_AA)
    return image


def side_by_side(
    image: np.ndarray,
    truth: Sequence[Sequence[float]],
    found: Sequence[Sequence[float]],
    scale: float,
) -> np.ndarray:
    """Ground truth left, predictions right; boxes xywh in pixels of ``image`` (H, W, 3, RGB)."""
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    gap = np.full((large.shape[0], 4, 3), 255, np.uint8)
    left, right = draw_boxes(large, truth, TRUTH, scale), draw_boxes(large, found, FOUND, scale)
    return np.hstack([left, gap, right])


def contact_sheet(tiles: Sequence[np.ndarray], columns: int, title: str) -> np.ndarray:
    """Tiles of equal size (H, W, 3) on a white sheet under one line of text."""
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((HEADER + rows * (height + 8), columns * (width + 8), 3), 255, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(sheet, title, (6, HEADER - 7), font, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top, left = HEADER + row * (height + 8), column * (width + 8) + 4
        sheet[top : top + height, left : left + width] = tile
    return sheet


def prediction_sheet(
    annotations: Path,
    image_root: Path,
    predictions: Path,
    out: Path,
    images: int = 6,
    columns: int = 2,
    min_score: float = 0.5,
    tile: int = 320,
) -> Path:
    """Write a sheet with ground truth and predictions of the images with most boxes.

    Args:
        annotations: COCO file of the ground truth.
        image_root: folder of its images.
        predictions: ``predictions.json`` of an evaluation (COCO results, boxes xywh in pixels).
        out: the PNG to write.
        images: how many images to show at most.
        columns: images side by side.
        min_score: predictions below it are not drawn.
        tile: width of one picture, px.

    Raises:
        ValueError: an image is missing or no image any more.
    """
    truth = json.loads(annotations.read_text())
    boxes = _boxes_by_image(truth["annotations"])
    found = _boxes_by_image(
        p for p in json.loads(predictions.read_text()) if p["score"] >= min_score
    )
    chosen = sorted(truth["images"], key=lambda i: (-len(boxes[i["id"]]), i["id"]))[:images]
    tiles = []
    for entry in chosen:
        image = _read(image_root / entry["file_name"])
        pair = boxes[entry["id"]], found[entry["id"]]
        tiles.append(_fitted(side_by_side(image, *pair, tile / image.shape[1]), tile))
    title = f"left: ground truth - right: found with a score of at least {min_score}"
    cv2.imwrite(str(out), contact_sheet(tiles, columns, title)[..., ::-1])
    return out


def _read(path: Path) -> np.ndarray:
    """An image (H, W, 3, RGB uint8)."""
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(
            f"{path} is missing or cannot be read, but predictions on it are to be shown. Put the "
            "images of the evaluated split back, or name their place with --data-root."
        )
    return image[..., ::-1]


def _fitted(pair: np.ndarray, tile: int) -> np.ndarray:
    """Pad or cut a pair to the height of a square tile."""
    canvas = np.full((tile, pair.shape[1], 3), 255, np.uint8)
    rows = min(tile, pair.shape[0])
    canvas[:rows] = pair[:rows]
    return canvas


def _boxes_by_image(entries: Any) -> Mapping[int, list[list[float]]]:
    boxes: dict[int, list[list[float]]] = defaultdict(list)
    for entry in entries:
        boxes[entry["image_id"]].append(entry["bbox"])
    return boxes
