"""What the command leaves: pictures, videos and a JSON file of detections."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from detectron2.structures import Instances

from pictures.boxes import BoxSet
from pictures.frame import draw_frame, zoom_for
from runfolder.files import replacing

LEAST_SIDE = 640  # px to which small images are enlarged, so that names can be read
TRUTH = "_annotations.coco.json"


class Results(Protocol):
    """Takes the detections of one image or frame."""

    def __call__(self, identity: Mapping[str, Any], found: Instances) -> None: ...


@contextmanager
def results_file(path: Path, class_names: Sequence[str]) -> Iterator[Results]:
    """A JSON list in COCO's results format, written as it comes; it appears when it is whole.

    Each detection has ``image_id`` and what else tells where it is, ``category_id`` (from 1),
    ``category``, ``bbox`` (left, top, width, height, px of the image or histogram) and ``score``.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        separators = _commas()
        file.write("[")

        def add(identity: Mapping[str, Any], found: Instances) -> None:
            for entry in _entries(found, class_names):
                file.write(next(separators) + json.dumps({**identity, **entry}, allow_nan=False))

        yield add
        file.write("\n]\n")


def _commas() -> Iterator[str]:
    yield "\n"
    while True:
        yield ",\n"


def _entries(found: Instances, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    classes, scores = found.pred_classes.tolist(), found.scores.tolist()
    for box, k, score in zip(found.pred_boxes.tensor.tolist(), classes, scores, strict=True):
        left, top, right, bottom = box
        yield {
            "category_id": k + 1,
            "category": names[k] if k < len(names) else str(k),
            "bbox": [round(x, 3) for x in (left, top, right - left, bottom - top)],
            "score": round(score, 6),
        }


def box_set(found: Instances) -> BoxSet:
    """Detections as they are drawn."""
    boxes = found.pred_boxes.tensor.numpy().astype(np.float64)
    return BoxSet(boxes, found.pred_classes.numpy(), found.scores.numpy())


def picture(
    image: np.ndarray,
    found: Instances,
    names: Sequence[str],
    truth: BoxSet | None = None,
    is_steady: bool = False,
) -> np.ndarray:
    """An image (H, W, 3) RGB, or frame of a video, with detections; a small one is enlarged."""
    zoom = zoom_for(max(image.shape[:2]), LEAST_SIDE)
    return draw_frame(image, truth, box_set(found), names, zoom=zoom, is_steady=is_steady)


def truth_beside(image: Path, names: Sequence[str]) -> BoxSet | None:
    """Labels of an image in the COCO file of its folder, by class name; None if there are none.

    Labels of classes that ``names`` lacks are left out.
    """
    boxes = _labels_of(image.parent / TRUTH, tuple(names)).get(image.name)
    if boxes is None:
        return None
    table = np.array(boxes, float).reshape(-1, 5)
    corners = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    return BoxSet(corners, table[:, 4].astype(np.int64))


@cache
def _labels_of(file: Path, names: tuple[str, ...]) -> dict[str, list[list[float]]]:
    """Boxes (left, top, width, height, class) by file name.

    Raises:
        ValueError: the file is damaged, or is not one of labels.
    """
    if not file.is_file():
        return {}
    try:
        return _boxes_by_file(json.loads(file.read_text(encoding="utf-8-sig")), names)
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{file} cannot be read as COCO labels ({reason}). Export them again, or leave out "
            "--show-truth."
        ) from error


def _boxes_by_file(content: Any, names: Sequence[str]) -> dict[str, list[list[float]]]:
    numbers = {c["id"]: names.index(c["name"]) for c in content["categories"] if c["name"] in names}
    files = {image["id"]: image["file_name"] for image in content["images"]}
    found: dict[str, list[list[float]]] = {name: [] for name in files.values()}
    for label in content["annotations"]:
        if label["category_id"] in numbers:
            box = label["bbox"]
            if not isinstance(box, list) or len(box) != 4:
                raise ValueError(f"a box is {box!r:.60}")
            row = [*map(float, box), numbers[label["category_id"]]]
            found[files[label["image_id"]]].append(row)
    return found
