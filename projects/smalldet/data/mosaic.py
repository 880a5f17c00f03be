"""Several images in one: more objects, at more places and beside other things, in each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2.data import transforms as T

from smalldet.data.augment import CropAroundBox, LabelledImage, height_and_width
from smalldet.data.catalog import records_of
from smalldet.data.mapper import read_labelled

PIECES = 4
CENTRE = (0.25, 0.75)  # range of the point where they meet, as shares of height and width
PADDING = 114  # grey level where no image is


class Mosaic(T.Augmentation):
    """Four images of a split around a random point, or the one alone (arXiv 2004.10934).

    The sample's image and three that are drawn at random each show a window around one of their
    boxes, as large as their quadrant has room for. Boxes are cut to it; :class:`SeededMapper` drops
    those that too little is left of.

    Args:
        dataset: registered name of the images to draw from, as ``heads_train``.
        shape: height and width of the mosaic, px; a number for both.
        augmentations: of each image before it is placed, as a resize; of the one alone, too.
        prob: probability of a mosaic.
    """

    def __init__(
        self,
        dataset: str,
        shape: int | Sequence[int],
        augmentations: Sequence[Any] = (),
        prob: float = 0.5,
    ) -> None:
        super().__init__()
        self.dataset, self.shape = dataset, height_and_width(shape)
        self.augmentations = T.AugmentationList(list(augmentations))
        self.prob = prob
        self._records = records_of(dataset)

    def __call__(self, seen: LabelledImage) -> T.Transform:
        """Turn ``seen`` into a mosaic in place; no transform describes what that does."""
        if np.random.uniform() >= self.prob:
            return self.augmentations(seen)
        others = (self._records[i] for i in np.random.randint(len(self._records), size=PIECES - 1))
        pieces = [seen, *(read_labelled(record, seen.image_format) for record in others)]
        for piece in pieces:
            self.augmentations(piece)
        self._join(pieces)
        return T.NoOpTransform()

    def _join(self, pieces: Sequence[LabelledImage]) -> None:
        """Make the first of four images the mosaic of all, row by row."""
        shape = np.array(self.shape)
        centre = np.round(shape * np.random.uniform(*CENTRE, size=2)).astype(int)
        image = np.full((*shape, *pieces[0].image.shape[2:]), PADDING, np.uint8)
        for number, piece in enumerate(pieces):
            is_after = np.array(divmod(number, 2), dtype=bool)  # below, right of the point
            CropAroundBox(np.where(is_after, shape - centre, centre).tolist())(piece)
            height, width = piece.image.shape[:2]
            top, left = np.where(is_after, centre, centre - (height, width))
            image[top : top + height, left : left + width] = piece.image
            piece.boxes += [left, top, left, top]
        whole = pieces[0]
        whole.image = image
        for name in ("boxes", "classes", "visible"):
            setattr(whole, name, np.concatenate([getattr(piece, name) for piece in pieces]))
