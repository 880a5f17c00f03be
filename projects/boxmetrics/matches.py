"""The matches of a whole data set as flat arrays, and the file that keeps them.

Shape shorthand: N images, D predictions, G ground-truth boxes, T IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxmetrics.boxes import Floats, as_boxes, box_area, iou_matrix
from boxmetrics.matching import COCO_THRESHOLDS, UNMATCHED, Ints, by_score, match_greedily


@dataclass(frozen=True)
class ImageBoxes:
    """What was predicted and what is true on one image.

    Boxes are ``xyxy_abs`` in pixels of the original image; classes count from 0.
    """

    image_id: int
    boxes: ArrayLike  # (D, 4)
    scores: ArrayLike  # (D,)
    classes: ArrayLike  # (D,)
    gt_boxes: ArrayLike  # (G, 4)
    gt_classes: ArrayLike  # (G,)
    gt_areas: ArrayLike  # (G,) as annotated, square pixels
    gt_crowd: ArrayLike  # (G,)


@dataclass(frozen=True)
class Matches:
    """Predictions and ground truth of a data set, and who found whom, in flat arrays.

    Predictions are sorted by image, class, then score from high to low, so the first k rows of an
    image and class are what a limit of k detections keeps, and their matches stay valid.
    Ground-truth boxes are sorted by image, then class. Boxes are ``xyxy_abs`` and areas square
    pixels, both of the original image. A prediction whose match is a crowd region
    (``gt_crowd[det_gt]``) counts neither as right nor as wrong.
    """

    image_ids: Ints  # (N,)
    iou_thresholds: Floats  # (T,)
    det_image: Ints  # (D,) row of image_ids
    det_class: Ints  # (D,)
    det_score: Floats  # (D,)
    det_area: Floats  # (D,) width times height
    det_box: Floats  # (D, 4)
    det_gt: Ints  # (D, T) row of the ground-truth arrays, -1 without match
    det_iou: Floats  # (D, T) overlap with that box, 0 without match
    gt_image: Ints  # (G,) row of image_ids
    gt_class: Ints  # (G,)
    gt_area: Floats  # (G,) as annotated
    gt_box: Floats  # (G, 4)
    gt_crowd: NDArray[np.bool_]  # (G,)
    gt_det: Ints  # (G, T) row of the matched prediction, -1 for a missed box and for crowds

    def save(self, path: Path) -> None:
        """Write all arrays to ``path`` (.npz, compressed, the same bytes for the same matches)."""
        np.savez_compressed(path, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> Matches:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def columns(self, thresholds: ArrayLike) -> Ints:
        """Where the IoU ``thresholds`` (M,) are in ``iou_thresholds``: (M,).

        Raises:
            ValueError: one of them was not matched.
        """
        asked = np.atleast_1d(np.asarray(thresholds, np.float64))
        equal = np.isclose(self.iou_thresholds, asked[:, None])
        if not equal.any(axis=1).all():
            raise ValueError(
                f"The matches hold the IoU thresholds {np.round(self.iou_thresholds, 4).tolist()}, "
                f"but {np.round(asked, 4).tolist()} are asked for. Match the boxes again at these."
            )
        return equal.argmax(axis=1)

    def by_image(self, dets: Ints) -> Iterator[tuple[Ints, slice]]:
        """Image by image those of the prediction rows ``dets``, and all rows of ground truth.

        ``dets`` are sorted by image; their order within an image is kept.
        """
        rows = np.arange(len(self.image_ids) + 1)
        det_edges = np.searchsorted(self.det_image[dets], rows).tolist()
        gt_edges = np.searchsorted(self.gt_image, rows).tolist()
        for d, g in zip(pairwise(det_edges), pairwise(gt_edges), strict=True):
            yield dets[slice(*d)], slice(*g)


def match_images(images: Iterable[ImageBoxes], thresholds: ArrayLike = COCO_THRESHOLDS) -> Matches:
    """Match every image and class by :func:`boxmetrics.matching.match_greedily`."""
    limits = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    image_ids, found, truth = [], [], []
    gt_start = 0
    for row, image in enumerate(images):
        image_ids.append(image.image_id)
        det, gt = _match_image(image, limits)
        det["det_gt"][det["det_gt"] != UNMATCHED] += gt_start
        det["det_image"] = np.full(len(det["det_class"]), row, dtype=np.int64)
        gt["gt_image"] = np.full(len(gt["gt_class"]), row, dtype=np.int64)
        gt_start += len(gt["gt_class"])
        found.append(det)
        truth.append(gt)
    empty_det, empty_gt = _match_image(ImageBoxes(0, [], [], [], [], [], [], []), limits)
    empty_det["det_image"] = empty_gt["gt_image"] = np.zeros(0, dtype=np.int64)
    columns = _concatenate([empty_det, *found]) | _concatenate([empty_gt, *truth])
    return Matches(
        image_ids=np.asarray(image_ids, dtype=np.int64),
        iou_thresholds=limits,
        gt_det=_matched_from(columns["det_gt"], columns["gt_crowd"]),
        **columns,
    )


Columns = dict[str, NDArray]


def _match_image(image: ImageBoxes, thresholds: Floats) -> tuple[Columns, Columns]:
    """Columns of one image's predictions and ground truth; ``det_gt`` counts within the image."""
    classes, scores = np.asarray(image.classes, np.int64), np.asarray(image.scores, np.float64)
    order = by_score(scores)
    order = order[np.argsort(classes[order], kind="stable")]
    gt_classes = np.asarray(image.gt_classes, np.int64)
    gt_order = np.argsort(gt_classes, kind="stable")
    gt: Columns = {
        "gt_class": gt_classes[gt_order],
        "gt_area": np.asarray(image.gt_areas, np.float64)[gt_order],
        "gt_box": as_boxes(image.gt_boxes)[gt_order],
        "gt_crowd": np.asarray(image.gt_crowd, bool)[gt_order],
    }
    det: Columns = {
        "det_class": classes[order],
        "det_score": scores[order],
        "det_box": as_boxes(image.boxes)[order],
    }
    det["det_area"] = box_area(det["det_box"])
    det["det_gt"] = np.full((len(order), len(thresholds)), UNMATCHED, dtype=np.int64)
    det["det_iou"] = np.zeros(det["det_gt"].shape)
    for k in np.intersect1d(det["det_class"], gt["gt_class"]):
        _match_class(det, gt, k, thresholds)
    return det, gt


def _match_class(det: Columns, gt: Columns, k: int, thresholds: Floats) -> None:
    """Fill ``det_gt`` and ``det_iou`` of class ``k``."""
    rows, gt_rows = np.flatnonzero(det["det_class"] == k), np.flatnonzero(gt["gt_class"] == k)
    crowd = gt["gt_crowd"][gt_rows]
    ious = iou_matrix(det["det_box"][rows], gt["gt_box"][gt_rows], crowd)
    matches = match_greedily(ious, crowd, thresholds)
    matched = matches != UNMATCHED
    det["det_gt"][rows] = np.where(matched, gt_rows[matches], UNMATCHED)
    det["det_iou"][rows] = np.where(matched, np.take_along_axis(ious, matches, axis=1), 0.0)


def _matched_from(det_gt: Ints, gt_crowd: NDArray[np.bool_]) -> Ints:
    """The inverse of ``det_gt``: per ground-truth row and threshold, its prediction's row or -1."""
    gt_det = np.full((len(gt_crowd), det_gt.shape[1]), UNMATCHED, dtype=np.int64)
    rows, columns = np.nonzero(det_gt != UNMATCHED)
    targets = det_gt[rows, columns]
    single = ~gt_crowd[targets]
    gt_det[targets[single], columns[single]] = rows[single]
    return gt_det


def _concatenate(parts: Sequence[Columns]) -> Columns:
    """The columns of all ``parts``, one below the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
