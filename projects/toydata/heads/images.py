"""Generated head-detection data: painted scenes with people, in the layout of a labelling service.

The same parameters always give the same pictures. The annotation file has the habits of real
exports: a parent category with id 0 that owns no box, ids from 0, empty segmentations. A box
(xywh, px) surrounds the visible part of a head, hair and hat included; its ``area`` is its width
times its height.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from toydata.heads.painting import Canvas
from toydata.heads.people import Person
from toydata.heads.scenery import finish, paint_background, paint_round_thing, paint_screen

People = list[tuple[float, float, float]]  # centre and height of each head: x, y, size in px

GENERATOR_VERSION = 1
CATEGORIES = (
    {"id": 0, "name": "heads-detection", "supercategory": "none"},
    {"id": 1, "name": "head", "supercategory": "heads-detection"},
)
ANNOTATION_NAME = "_annotations.coco.json"
SPLITS = ("train", "valid", "test")

_SMALLEST_HEAD_PX = 14.0  # the height; below, a 16 px patch says too little
_VISIBLE_ENOUGH = 0.35  # heads hidden more than this leaves are not labelled
_SMALLEST_SIDE_PX = 4.0


@dataclass(frozen=True)
class Scene:
    """One picture: RGB pixels (H, W, 3) uint8 and the visible heads (N, 4) xywh_abs float."""

    picture: np.ndarray
    boxes: np.ndarray


def paint_scene(rng: np.random.Generator, height: int, width: int) -> Scene:
    """A random scene: nobody, a few people, a group, or a crowd.

    Args:
        rng: the only source of randomness.
        height: of the picture, px.
        width: of the picture, px.
    """
    canvas = Canvas(height, width, scale=2 if max(height, width) <= 320 else 1)
    horizon = rng.uniform(0.28, 0.5) * height
    paint_background(canvas, rng, horizon)
    for _ in range(int(rng.integers(0, 4))):
        size = rng.uniform(0.07, 0.24) * min(height, width)
        paint_round_thing(
            canvas, rng, rng.uniform(0, width), rng.uniform(0.05, 0.95) * height, size
        )
    painted = _paint_people(canvas, rng, _place_people(rng, height, width, horizon))
    if rng.random() < 0.3:
        paint_screen(canvas, rng)
    return Scene(finish(canvas.finished(), rng), _visible_boxes(canvas, painted))


def _place_people(rng: np.random.Generator, height: int, width: int, horizon: float) -> People:
    """Heads, the farthest first."""
    kind = rng.choice(("nobody", "few", "group", "crowd"), p=(0.12, 0.43, 0.33, 0.12))
    if kind == "nobody":
        return []
    if kind == "crowd":
        return _place_crowd(rng, height, width)
    count = int(rng.integers(1, 5) if kind == "few" else rng.integers(4, 9))
    side = min(height, width)
    smallest, largest = max(_SMALLEST_HEAD_PX, 0.02 * side), 0.36 * side
    largest = largest if kind == "few" else 0.24 * side
    sizes = np.sort(np.exp(rng.uniform(np.log(smallest), np.log(largest), count)))
    slope = rng.uniform(-0.6, 1.8)  # camera height: how much lower near heads appear
    people: People = []
    for size in sizes:
        y = horizon + (slope + rng.normal(0, 0.35)) * size
        y = float(np.clip(y, 0.4 * size, height - 0.5 * size))
        people.append((_free_place(rng, people, width, y, size), y, float(size)))
    return people


def _free_place(
    rng: np.random.Generator, people: People, width: int, y: float, size: float
) -> float:
    """An x at which the new body hides few of the earlier heads, as far as 8 tries find one."""
    tries = rng.uniform(0.3 * size, width - 0.3 * size, 8)
    if not people:
        return float(tries[0])
    earlier = np.array(people)
    reach = size * 1.0 + earlier[:, 2] * 0.4
    hidden = (np.abs(tries[:, None] - earlier[:, 0]) < reach) & (earlier[:, 1] > y - 0.6 * size)
    return float(tries[np.argmin(hidden.sum(axis=1))])


def _place_crowd(rng: np.random.Generator, height: int, width: int) -> People:
    """Rows of people, growing and denser towards the viewer."""
    side = min(height, width)
    size = max(_SMALLEST_HEAD_PX, rng.uniform(0.03, 0.085) * side)
    y, growth = rng.uniform(0.2, 0.4) * height, rng.uniform(1.15, 1.45)
    people = []
    while y < height - 0.4 * size and len(people) < 40:
        x = rng.uniform(0, 1.6) * size
        while x < width:
            people.append((float(x), float(y + rng.normal(0, 0.12) * size), float(size)))
            x += rng.uniform(1.7, 3.0) * size
        y, size = y + rng.uniform(1.4, 2.0) * size, size * growth
    return people


def _paint_people(canvas: Canvas, rng: np.random.Generator, people: People) -> list[int]:
    """Paint each person; returns of how many pixels each head was before others hid it."""
    painted = []
    for label, (x, y, size) in enumerate(people, start=1):
        Person(canvas, rng, x, y, size, label).paint()
        painted.append(np.count_nonzero(canvas.labels == label))
    return painted


def _visible_boxes(canvas: Canvas, painted: list[int]) -> np.ndarray:
    """(N, 4) xywh_abs of the heads that are visible enough to be labelled."""
    boxes = []
    for label, pixels in enumerate(painted, start=1):
        rows, columns = np.nonzero(canvas.labels == label)
        if len(rows) == 0 or len(rows) < _VISIBLE_ENOUGH * pixels:
            continue
        corner, sides = (columns.min(), rows.min()), (np.ptp(columns) + 1, np.ptp(rows) + 1)
        box = np.array([*corner, *sides]) / canvas.scale
        if box[2:].min() >= _SMALLEST_SIDE_PX:
            boxes.append(box)
    return np.array(boxes).reshape(-1, 4)


def write_split(folder: Path, seed: int, split: str, images: int, size: tuple[int, int]) -> None:
    """Write ``images`` pictures of ``size`` (height, width) and their annotation file.

    Args:
        folder: made if missing.
        seed: together with the split's name and the picture's number it decides every picture.
        split: one of ``SPLITS``.
        images: how many.
        size: height and width, px.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "info": {"description": "generated head-detection data", "version": GENERATOR_VERSION},
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": ""}],
        "categories": list(CATEGORIES),
        "images": [],
        "annotations": [],
    }
    for number in range(images):
        rng = np.random.default_rng([seed, SPLITS.index(split), number])
        scene = paint_scene(rng, *size)
        name = f"{split}_{number:05d}.{'png' if rng.random() < 0.3 else 'jpg'}"
        _write_picture(folder / name, scene.picture, int(rng.integers(86, 97)))
        _append_entries(content, number, name, scene)
    (folder / ANNOTATION_NAME).write_text(json.dumps(content), encoding="utf-8")


def _write_picture(path: Path, picture: np.ndarray, quality: int) -> None:
    # imencode and write_bytes: cv2.imwrite cannot write to every unicode path on every system.
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, picture[:, :, ::-1], options)
    path.write_bytes(data.tobytes())


def _append_entries(content: dict[str, Any], number: int, name: str, scene: Scene) -> None:
    height, width = scene.picture.shape[:2]
    content["images"].append(
        {"id": number, "license": 1, "file_name": name, "height": height, "width": width}
    )
    for box in scene.boxes.tolist():
        content["annotations"].append(
            {
                "id": len(content["annotations"]),
                "image_id": number,
                "category_id": 1,
                "bbox": box,
                "area": box[2] * box[3],
                "segmentation": [],
                "iscrowd": 0,
            }
        )
