"""Small exported data sets for the tests: files as a labelling service leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = [
    {"id": 0, "name": "heads-detection", "supercategory": "none"},
    {"id": 1, "name": "head", "supercategory": "heads-detection"},
]


def image(number: int, name: str | None = None, size: tuple[int, int] = (40, 30)) -> dict[str, Any]:
    """An image entry; size is (width, height)."""
    name = name or f"{number}.png"
    return {"id": number, "file_name": name, "width": size[0], "height": size[1]}


def box(number: int, image_id: int, bbox: Any, category_id: Any = 1, **more: Any) -> dict[str, Any]:
    """An annotation as exports have it."""
    entry = {"id": number, "image_id": image_id, "category_id": category_id, "bbox": bbox}
    try:
        entry["area"] = float(bbox[2]) * float(bbox[3])
    except (TypeError, ValueError, LookupError, OverflowError):
        entry["area"] = 0
    return {**entry, "segmentation": [], "iscrowd": 0, **more}


def coco(images: list[Any], annotations: list[Any]) -> dict[str, Any]:
    """An annotation file with the usual two categories."""
    return {"categories": CATEGORIES, "images": images, "annotations": annotations}


def write_image(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> None:
    """Noise of ``size`` (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_split(folder: Path, content: dict[str, Any]) -> None:
    """The annotation file and a picture for each well-formed entry."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in content["images"]:
        write_image(folder / entry["file_name"], (entry["width"], entry["height"]), entry["id"])
    (folder / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")


def write_data_set(root: Path, train: int = 6) -> Path:
    """Three splits; every third image of ``train`` is a negative."""
    for split, count in (("train", train), ("valid", 3), ("test", 2)):
        images = [image(number) for number in range(count)]
        boxes = [
            box(number, number, [4, 5, 10 + number % 5, 12])
            for number in range(count)
            if number % 3 != 2
        ]
        write_split(root / split, coco(images, boxes))
    return root
