"""Areas and overlaps of axis-aligned boxes.

Shape shorthand: D predicted boxes, G ground-truth boxes. Boxes are ``xyxy_abs``: left, top, right,
bottom in pixels of one common frame, with continuous coordinates (a box from 0 to 10 is 10 wide).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def as_boxes(boxes: ArrayLike) -> Floats:
    """``boxes`` as a float64 array (N, 4); an empty sequence becomes (0, 4).

    Raises:
        ValueError: the last axis does not hold four coordinates.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(
            f"Boxes of shape {array.shape} were given; (N, 4) with left, top, right, bottom is "
            "expected. Reshape them to one box a row."
        )
    return array


def xywh_to_xyxy(boxes: ArrayLike) -> Floats:
    """Boxes (N, 4) as left, top, width, height (COCO files) turned into ``xyxy_abs``."""
    array = as_boxes(boxes)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def xyxy_to_xywh(boxes: ArrayLike) -> Floats:
    """Boxes (N, 4) in ``xyxy_abs`` turned into left, top, width, height (COCO files)."""
    array = as_boxes(boxes)
    return np.concatenate([array[:, :2], array[:, 2:] - array[:, :2]], axis=1)


def box_area(boxes: ArrayLike) -> Floats:
    """Areas (N,) in square pixels of ``xyxy_abs`` boxes (N, 4)."""
    array = as_boxes(boxes)
    return (array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1])


def iou_matrix(boxes: ArrayLike, gt_boxes: ArrayLike, gt_crowd: ArrayLike | None = None) -> Floats:
    """Overlap of every predicted box with every ground-truth box.

    Intersection over union; against a crowd region, intersection over the predicted box's own
    area, so that a box inside the region overlaps it fully (Lin et al., Microsoft COCO, 2014,
    arXiv 1405.0312, and the evaluation code published with it).

    Args:
        boxes: ``xyxy_abs`` (D, 4).
        gt_boxes: ``xyxy_abs`` (G, 4) in the same frame.
        gt_crowd: which ground-truth boxes are crowd regions (G,); none when left out.

    Returns:
        (D, G) in 0..1; 0 where boxes do not meet or have no area.
    """
    found, truth = as_boxes(boxes), as_boxes(gt_boxes)
    crowd = np.zeros(len(truth), bool) if gt_crowd is None else np.asarray(gt_crowd, bool)
    return iou_of_edges(found.T[:, :, None], truth.T[:, None, :], crowd)


def iou_of_edges(boxes: Floats, gt_boxes: Floats, gt_crowd: NDArray[np.bool_]) -> Floats:
    """Overlap of boxes in pairs, as :func:`iou_matrix`.

    Args:
        boxes: predicted ones (4, ...): left, top, right and bottom edges.
        gt_boxes: the ground-truth box of each pair (4, ...), to be broadcast against them.
        gt_crowd: which of these are crowd regions (...).
    """
    width = np.minimum(boxes[2], gt_boxes[2]) - np.maximum(boxes[0], gt_boxes[0])
    height = np.minimum(boxes[3], gt_boxes[3]) - np.maximum(boxes[1], gt_boxes[1])
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    own = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    other = (gt_boxes[2] - gt_boxes[0]) * (gt_boxes[3] - gt_boxes[1])
    union = np.where(gt_crowd, own, own + other - intersection)
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=intersection > 0)
