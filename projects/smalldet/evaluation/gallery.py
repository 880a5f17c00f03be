"""Small pictures of some true objects, of the same ones for every run on the same data."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from boxmetrics.matches import Matches
from pictures.boxes import BoxSet, draw_boxes
from pictures.sheet import write_image
from runfolder.files import write_json

logger = logging.getLogger(__name__)

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""

MAX_OBJECTS = 48
SIDE = 96
"""Height and width of a crop in its own pixels."""
CONTEXT = 3.0
"""What a crop shows, as a multiple of the longer side of the object."""
LEAST_SHOWN = 48
"""Pixels of the original image that a crop shows at least: a tiny object is enlarged twice."""
OUTSIDE = (128, 128, 128)  # RGB
_SMALLEST = 1.0  # square pixels; objects below count as if they had this area


def write_gallery(
    folder: Path, matches: Matches, picture: Callable[[int], Picture], limit: int = MAX_OBJECTS
) -> int:
    """Write ``gallery.json`` and ``gallery/*.png`` into ``folder``; return the number of crops.

    ``gallery.json`` holds ``{"objects": [...]}`` with, for each crop, ``gt`` (the object's row in
    the ground-truth arrays of ``matches``), ``image_id``, ``class``, ``area`` and ``file``.
    Whether a run has found the object is for ``matches`` to tell.

    Args:
        folder: Of the evaluation.
        matches: Only the ground truth counts.
        picture: Gives the picture of an image id, in the pixels of ``gt_box``. An object whose
            picture cannot be had (ValueError, OSError) is left out, and said.
        limit: Crops at most.
    """
    crops = folder / "gallery"
    crops.mkdir(parents=True, exist_ok=True)
    for stale in crops.glob("*.png"):
        stale.unlink()
    objects, failures = [], []
    for row in choose_objects(matches, limit):
        image_id = int(matches.image_ids[matches.gt_image[row]])
        try:
            image = picture(image_id)
        except (ValueError, OSError) as error:
            failures.append(f"image {image_id}: {error}")
            continue
        file = crops / f"{len(objects):03d}.png"
        write_image(file, crop(image, matches.gt_box[row]))
        objects.append(
            {
                "gt": int(row),
                "image_id": image_id,
                "class": int(matches.gt_class[row]),
                "area": float(matches.gt_area[row]),
                "file": f"gallery/{file.name}",
            }
        )
    write_json(folder / "gallery.json", {"objects": objects})
    if failures:
        logger.warning("%d objects have no crop; the first: %s", len(failures), failures[0])
    return len(objects)


def choose_objects(matches: Matches, limit: int = MAX_OBJECTS) -> NDArray[np.int64]:
    """Rows (at most ``limit``) of the ground truth, drawn without replacement, weight 1 / area.

    The draw is the same for the same ground truth, whatever was predicted. Crowds are left out.
    Algorithm A of Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006: the
    largest keys ``log(u) / weight`` win, where u is uniform in (0, 1).
    """
    uniform = np.random.default_rng(0).uniform(np.finfo(float).tiny, 1, len(matches.gt_area))
    keys = np.log(uniform) * np.maximum(matches.gt_area, _SMALLEST)
    order = np.argsort(-keys, kind="stable")
    return np.sort(order[~matches.gt_crowd[order]][:limit])


def crop(image: Picture, box: NDArray[np.float64]) -> Picture:
    """The surroundings of ``box`` as a picture (SIDE, SIDE, 3) with a thin outline of it.

    Args:
        image: (H, W, 3) RGB.
        box: (4,) xyxy_abs in pixels of ``image``; may reach out of it.
    """
    height, width = image.shape[:2]
    wanted = round(CONTEXT * float(max(box[2] - box[0], box[3] - box[1])))
    shown = max(LEAST_SHOWN, min(wanted, max(height, width)))
    left, top = np.floor((box[:2] + box[2:] - shown) / 2).astype(int).tolist()
    rows = slice(min(max(top, 0), height), min(max(top + shown, 0), height))
    columns = slice(min(max(left, 0), width), min(max(left + shown, 0), width))
    region = np.full((shown, shown, 3), OUTSIDE, np.uint8)
    region[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[
        rows, columns
    ]
    way = cv2.INTER_AREA if shown > SIDE else cv2.INTER_CUBIC
    small = cv2.resize(region, (SIDE, SIDE), interpolation=way).astype(np.uint8)
    outlined = BoxSet((box - [left, top, left, top])[None], np.zeros(1, np.int64))
    draw_boxes(small, outlined, class_names=None, zoom=SIDE / shown)
    return small
