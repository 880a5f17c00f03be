"""The matches of a whole data set as flat arrays, and the file that keeps them.

Shape shorthand: N images, D predictions, G ground-truth boxes, T IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from boxmetrics.boxes import Floats, box_area
from boxmetrics.matching import COCO_THRESHOLDS, UNMATCHED, Ints, Mask, match_pairs
from boxmetrics.pairs import overlapping
from boxmetrics.tables import BoxTable, ImageBoxes, load_columns


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
    gt_crowd: Mask  # (G,)
    gt_det: Ints  # (G, T) row of the matched prediction, -1 for a missed box and for crowds

    def save(self, path: Path) -> None:
        """Write all arrays to ``path`` (.npz, compressed, the same bytes for the same matches)."""
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Matches:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file is damaged, or no such file.
        """
        return cls(**load_columns(path, cls))

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
    """Match every image and class by :func:`boxmetrics.matching.match_pairs`."""
    return match_table(BoxTable.of_images(images), thresholds)


def match_table(table: BoxTable, thresholds: ArrayLike = COCO_THRESHOLDS) -> Matches:
    """The same for a table; the rows of the matches are those of the table."""
    limits = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    pairs, crowd = overlapping(table, limits), table.gt_crowd
    det_gt = match_pairs(pairs, crowd, crowd, limits, len(table.det_class)).T.copy()
    det_iou = np.zeros(det_gt.shape)
    rows, columns = np.nonzero(det_gt[pairs.det] == pairs.gt[:, None])
    det_iou[pairs.det[rows], columns] = pairs.iou[rows]
    names = {field.name for field in fields(Matches)}
    return Matches(
        iou_thresholds=limits,
        det_area=box_area(table.det_box),
        det_gt=det_gt,
        det_iou=det_iou,
        gt_det=_matched_from(det_gt, table.gt_crowd),
        **{name: column for name, column in vars(table).items() if name in names},
    )


def save_matches(table: BoxTable, path: Path) -> None:
    """Write the matches of a table (:meth:`Matches.load` reads them) and the table itself.

    Beside the arrays of :class:`Matches` the file holds ``image_recording`` and
    ``image_timestamp_us`` (N,) and ``det_class_confidence`` (D,).
    """
    np.savez_compressed(path, **(vars(match_table(table)) | vars(table)))


def _matched_from(det_gt: Ints, gt_crowd: Mask) -> Ints:
    """The inverse of ``det_gt``: per ground-truth row and threshold, its prediction's row or -1."""
    gt_det = np.full((len(gt_crowd), det_gt.shape[1]), UNMATCHED, dtype=np.int64)
    rows, columns = np.nonzero(det_gt != UNMATCHED)
    targets = det_gt[rows, columns]
    single = ~gt_crowd[targets]
    gt_det[targets[single], columns[single]] = rows[single]
    return gt_det
