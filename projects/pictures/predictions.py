"""What an evaluation of images found, and what was there: a sheet of the fullest images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pictures.boxes import DARK, BoxSet, Theme, class_legend
from pictures.frame import draw_frame
from pictures.sheet import contact_sheet, write_image
from pictures.text import with_title

Entries = Iterable[Mapping[str, Any]]


def prediction_sheet(
    annotations: Path,
    image_root: Path,
    predictions: Path,
    out: Path,
    read: Callable[[Path], np.ndarray],
    images: int = 6,
    columns: int = 3,
    min_score: float = 0.5,
    tile: int = 480,
    theme: Theme = DARK,
) -> Path:
    """Write a sheet of the images with most boxes: ground truth dashed, predictions solid.

    Args:
        annotations: COCO file of the ground truth.
        image_root: folder of its images.
        predictions: ``predictions.json`` of an evaluation (COCO results, boxes xywh in pixels).
        out: the PNG to write.
        read: gives an image as (H, W, 3) RGB uint8, or raises ValueError.
        images: how many images to show at most.
        columns: images side by side.
        min_score: predictions below it are not drawn.
        tile: side of one picture, px.
        theme: colours.

    Raises:
        ValueError: an image is missing or no image any more.
    """
    content = json.loads(annotations.read_text(encoding="utf-8"))
    categories = sorted(content.get("categories", []), key=lambda entry: entry["id"])
    ids, names = [entry["id"] for entry in categories], [entry["name"] for entry in categories]
    boxes = _by_image(content["annotations"])
    results = json.loads(predictions.read_text(encoding="utf-8"))
    found = _by_image(entry for entry in results if entry["score"] >= min_score)
    pictures = []
    for entry in sorted(content["images"], key=lambda i: (-len(boxes[i["id"]]), i["id"]))[:images]:
        image = _read(read, image_root / entry["file_name"])
        there, seen = (_box_set(x[entry["id"]], ids) for x in (boxes, found))
        zoom = tile / max(image.shape[:2])
        pictures.append(draw_frame(image, there, seen, names, theme, zoom))
    title = f"dashed: ground truth    solid: found, score at least {min_score:g}"
    sheet = contact_sheet(pictures, columns, theme=theme)
    legend = class_legend(names, theme)
    write_image(out, with_title(sheet, title, theme.truth, theme.background, legend))
    return out


def _box_set(entries: Entries, ids: Sequence[int]) -> BoxSet:
    """Classes are counted in the order of their ids, as Detectron2 does."""
    entries = list(entries)
    boxes = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = [entry["score"] for entry in entries if "score" in entry]
    classes = np.array([ids.index(entry["category_id"]) for entry in entries], np.int64)
    return BoxSet(boxes, classes, np.array(scores) if scores else None)


def _by_image(entries: Entries) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        found[entry["image_id"]].append(entry)
    return found


def _read(read: Callable[[Path], np.ndarray], path: Path) -> np.ndarray:
    try:
        return read(path)
    except ValueError as error:
        raise ValueError(
            f"{error} Predictions on it are to be shown: put the images of the evaluated split "
            "back, or name their place with --data-root."
        ) from error
