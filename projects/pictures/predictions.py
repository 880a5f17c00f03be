"""What an evaluation of images found, beside what was there: a sheet of the fullest images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pictures.boxes import LIGHT, BoxSet, draw_boxes
from pictures.sheet import contact_sheet, fitted, write_image
from pictures.text import with_title

Entries = list[Mapping[str, Any]]


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
    """Write a sheet of the images with most boxes: ground truth left, predictions right.

    Args:
        annotations: COCO file of the ground truth.
        image_root: folder of its images.
        predictions: ``predictions.json`` of an evaluation (COCO results, boxes xywh in pixels).
        out: the PNG to write.
        images: how many images to show at most.
        columns: images side by side.
        min_score: predictions below it are not drawn.
        tile: side of one picture, px.

    Raises:
        ValueError: an image is missing or no image any more.
    """
    truth = json.loads(annotations.read_text())
    names = _class_names(truth.get("categories", []))
    boxes = _by_image(truth["annotations"])
    found = _by_image(p for p in json.loads(predictions.read_text()) if p["score"] >= min_score)
    chosen = sorted(truth["images"], key=lambda i: (-len(boxes[i["id"]]), i["id"]))[:images]
    pairs = [
        _pair(image_root / entry["file_name"], names, tile, boxes[entry["id"]], found[entry["id"]])
        for entry in chosen
    ]
    title = f"left: ground truth - right: found with a score of at least {min_score}"
    sheet = contact_sheet(pairs, columns, theme=LIGHT)
    write_image(out, with_title(sheet, title, LIGHT.truth, LIGHT.background))
    return out


def _pair(path: Path, names: list[str], side: int, truth: Entries, found: Entries) -> np.ndarray:
    """One image (side, 2 * side, 3) RGB twice: with ground truth, with predictions."""
    image = _read(path)
    scale = side / max(image.shape[:2])
    left = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    right = left.copy()
    draw_boxes(left, truth=_box_set(truth), class_names=names, zoom=scale)
    draw_boxes(right, predictions=_box_set(found), class_names=names, zoom=scale)
    return np.hstack([fitted(left, side), fitted(right, side)])


def _box_set(entries: Iterable[Mapping[str, Any]]) -> BoxSet:
    entries = list(entries)
    boxes = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = [entry["score"] for entry in entries if "score" in entry]
    classes = np.array([entry.get("category_id", 0) for entry in entries], np.int64)
    return BoxSet(boxes, classes, np.array(scores) if scores else None)


def _class_names(categories: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names by category id; the number itself where the file has none."""
    known = {int(entry["id"]): str(entry["name"]) for entry in categories}
    return [known.get(number, str(number)) for number in range(max(known, default=-1) + 1)]


def _by_image(entries: Iterable[Mapping[str, Any]]) -> dict[int, Entries]:
    found: dict[int, Entries] = defaultdict(list)
    for entry in entries:
        found[entry["image_id"]].append(entry)
    return found


def _read(path: Path) -> np.ndarray:
    """An image (H, W, 3, RGB uint8)."""
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(
            f"{path} is missing or cannot be read, but predictions on it are to be shown. Put the "
            "images of the evaluated split back, or name their place with --data-root."
        )
    return image[..., ::-1]
