"""Predictions and ground truth of a whole data set as flat, sorted arrays.

Shape shorthand: N images (for recordings: labelled times), D predictions, G ground-truth boxes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxmetrics.boxes import Floats, as_boxes
from boxmetrics.matching import Ints, Mask

_MOST_CLASSES = 1 << 20
_KINDS = {"Ints": "iu", "Floats": "f", "Mask": "b", "NDArray[np.str_]": "U"}
"""Kinds of numpy's types by how a column is annotated."""
_ROWS = {"det_image": (0, "image"), "gt_image": (0, "image")} | {
    "det_gt": (-1, "gt"),
    "gt_det": (-1, "det"),
}
"""Columns that are rows of others: the lowest, and what those others are called."""


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
class Frame:
    """One image, and for event recordings where and when it is.

    ``class_confidence`` (D,): confidence in the class alone, without objectness; left out, it is
    the score.
    """

    image: ImageBoxes
    recording: str = ""
    timestamp_us: int = 0
    class_confidence: ArrayLike | None = None


@dataclass(frozen=True)
class BoxTable:
    """All boxes of a data set; classes count from 0.

    Boxes are ``xyxy_abs`` and areas square pixels, both of the original image; for event
    recordings of the sensor. Predictions are sorted by image, class, then score from high to low;
    ground truth by image, then class. Ties keep the order in which they came.
    """

    image_ids: Ints  # (N,)
    image_recording: NDArray[np.str_]  # (N,)
    image_timestamp_us: Ints  # (N,)
    det_image: Ints  # (D,) row of image_ids
    det_class: Ints  # (D,)
    det_score: Floats  # (D,)
    det_class_confidence: Floats  # (D,)
    det_box: Floats  # (D, 4)
    gt_image: Ints  # (G,) row of image_ids
    gt_class: Ints  # (G,)
    gt_area: Floats  # (G,) as annotated
    gt_box: Floats  # (G, 4)
    gt_crowd: Mask  # (G,)

    @classmethod
    def of_images(cls, images: Iterable[ImageBoxes]) -> BoxTable:
        """The table of images that belong to no recording."""
        return cls.of_frames(Frame(image) for image in images)

    @classmethod
    def of_frames(cls, frames: Iterable[Frame]) -> BoxTable:
        """The table of ``frames``, in the order given (which decides among equal scores)."""
        given = list(frames)
        images = [frame.image for frame in given]
        confidence = [
            f.image.scores if f.class_confidence is None else f.class_confidence for f in given
        ]
        return cls(
            image_ids=np.array([image.image_id for image in images], np.int64),
            image_recording=np.array([frame.recording for frame in given], np.str_),
            image_timestamp_us=np.array([frame.timestamp_us for frame in given], np.int64),
            det_image=_rows([image.scores for image in images]),
            det_class=_joined([image.classes for image in images], np.int64),
            det_score=_joined([image.scores for image in images], np.float64),
            det_class_confidence=_joined(confidence, np.float64),
            det_box=_stacked([image.boxes for image in images]),
            gt_image=_rows([image.gt_classes for image in images]),
            gt_class=_joined([image.gt_classes for image in images], np.int64),
            gt_area=_joined([image.gt_areas for image in images], np.float64),
            gt_box=_stacked([image.gt_boxes for image in images]),
            gt_crowd=_joined([image.gt_crowd for image in images], np.bool_),
        ).sorted()

    def sorted(self) -> BoxTable:
        """The same boxes in the order that this class promises."""
        dets = np.lexsort((-self.det_score, self.det_class, self.det_image))
        return self.select(dets, np.lexsort((self.gt_class, self.gt_image)))

    def select(self, dets: Mask | Ints, gts: Mask | Ints) -> BoxTable:
        """The predictions ``dets`` and the ground truth ``gts`` (masks or rows); all images."""
        rows = {"det_": dets, "gt_": gts}
        chosen = {
            field.name: getattr(self, field.name)[rows[prefix]]
            for prefix in rows
            for field in fields(self)
            if field.name.startswith(prefix)
        }
        return replace(self, **chosen)

    def select_images(self, images: Mask) -> BoxTable:
        """Only the images of the mask (N,) and their boxes."""
        kept = self.select(images[self.det_image], images[self.gt_image])
        new_rows = np.cumsum(images) - 1
        return replace(
            kept,
            image_ids=self.image_ids[images],
            image_recording=self.image_recording[images],
            image_timestamp_us=self.image_timestamp_us[images],
            det_image=new_rows[kept.det_image],
            gt_image=new_rows[kept.gt_image],
        )

    def as_one_class(self) -> BoxTable:
        """The same boxes with every class taken for class 0."""
        dets, gts = np.zeros_like(self.det_class), np.zeros_like(self.gt_class)
        return replace(self, det_class=dets, gt_class=gts).sorted()

    def ranked_by_class_confidence(self) -> BoxTable:
        """The same boxes with the confidence in the class as their score."""
        return replace(self, det_score=self.det_class_confidence).sorted()

    def truth_of_predictions(self) -> tuple[Ints, Ints]:
        """Where ground truth of each prediction's image and class begins and ends, (D,) each."""
        dets = _groups(self.det_image, self.det_class)
        gts = _groups(self.gt_image, self.gt_class)
        return np.searchsorted(gts, dets), np.searchsorted(gts, dets, side="right")

    @classmethod
    def load(cls, path: Path) -> BoxTable:
        """Read what :func:`boxmetrics.matches.save_matches` wrote, to score it anew.

        Raises:
            ValueError: the file is damaged, or no such file.
        """
        return cls(**load_columns(path, cls))


def load_columns(
    path: Path, of: Any, names: Collection[str] = (), required: bool = True
) -> dict[str, NDArray]:
    """Columns of a table, or of matches, as they were saved.

    Args:
        path: the .npz.
        of: the class whose fields they are.
        names: of those that are wanted; all of the class if there are none.
        required: whether all of them must be there.

    Raises:
        ValueError: the file cannot be read, lacks a column, or has one that does not fit.
    """
    kinds = {one.name: str(one.type) for one in fields(of) if not names or one.name in names}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in kinds if required or name in arrays}
    except Exception as error:  # zip, zlib and numpy have many
        raise ValueError(f"{path} cannot be read: {error}") from error
    sizes: dict[str | int, int] = {4: 4}
    for name, column in columns.items():
        dims = _dims(name)
        sizes = dict(zip(dims, column.shape, strict=False)) | sizes
        is_shaped = column.shape == tuple(sizes.get(one) for one in dims)
        if column.dtype.kind not in _KINDS[kinds[name]] or not is_shaped:
            raise ValueError(f"{path} is damaged: {name} is {column.dtype}{list(column.shape)}")
    for name, column in columns.items():
        low, high = _limits(name, sizes)
        if column.dtype.kind in "iuf" and not ((column >= low) & (column < high)).all():
            raise ValueError(f"{path} is damaged: {name} has values that it cannot have")
        if name in ("det_image", "gt_image") and (column[1:] < column[:-1]).any():
            raise ValueError(f"{path} is damaged: {name} is not sorted")
    return columns


def _dims(name: str) -> tuple[str | int, ...]:
    """The dimensions of a column; what is not 4 is called by its rows."""
    rows, _, what = name.partition("_")
    per_threshold = name in ("det_gt", "det_iou", "gt_det")
    return rows, *((4,) if what == "box" else ("iou",) if per_threshold else ())


def _limits(name: str, sizes: Mapping[str | int, int]) -> tuple[float, float]:
    """What the numbers of a column are at least, and below."""
    if name in _ROWS:
        low, of = _ROWS[name]
        return low, sizes.get(of, np.inf)
    return (0, _MOST_CLASSES) if name.endswith("_class") else (-np.inf, np.inf)


def rank_in_class(images: Ints, classes: Ints) -> Ints:
    """The place (N,) of each prediction among those of its image and class, from 0.

    The rows are sorted by image, class, then score, as in :class:`BoxTable`.
    """
    _, first, sizes = np.unique(_groups(images, classes), return_index=True, return_counts=True)
    return np.arange(len(images)) - np.repeat(first, sizes)


def _groups(images: Ints, classes: Ints) -> Ints:
    """One number for each image and class (N,), rising where the rows are sorted."""
    return images * _MOST_CLASSES + classes


def _rows(columns: list[ArrayLike]) -> Ints:
    """The row of each image, once for each of its entries."""
    return np.repeat(np.arange(len(columns)), [len(np.atleast_1d(column)) for column in columns])


def _joined(columns: list[ArrayLike], dtype: type) -> NDArray:
    """The entries of all images, one image after the other."""
    return np.concatenate([np.zeros(0, dtype), *(np.asarray(c, dtype) for c in columns)])


def _stacked(boxes: list[ArrayLike]) -> Floats:
    """The boxes of all images (any number, 4)."""
    return np.concatenate([np.zeros((0, 4)), *(as_boxes(box) for box in boxes)])
