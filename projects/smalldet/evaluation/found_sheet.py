"""What is found in a few images, beside what is there: the same images for every step of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from boxmetrics.matches import Matches
from pictures.boxes import BoxSet
from pictures.frame import draw_frame
from pictures.sheet import contact_sheet
from smalldet.evaluation.gallery import Picture

IMAGES, TILE = 4, 340  # px of the longer side of one picture


def found_sheet(
    matches: Matches, picture: Callable[[int], Picture], classes: Sequence[str]
) -> Picture | None:
    """The images with most objects side by side: ground truth dashed, predictions with scores.

    Of each image the surest predictions are shown, no more than there are objects.

    Args:
        matches: of all images.
        picture: gives the picture of an image id, in the pixels of the boxes. An image whose
            picture cannot be had (ValueError, OSError) is left out.
        classes: names.

    Returns:
        (H, W, 3) RGB; None without any picture.
    """
    tiles = []
    for row in fullest_images(matches):
        with suppress(ValueError, OSError):
            tiles.append(_tile(matches, row, picture(int(matches.image_ids[row])), classes))
    return contact_sheet(tiles) if tiles else None


def fullest_images(matches: Matches, limit: int = IMAGES) -> list[int]:
    """Rows of the images with most objects, at most ``limit``; whatever was predicted."""
    counts = np.bincount(matches.gt_image, minlength=len(matches.image_ids))
    return np.argsort(-counts, kind="stable")[:limit].tolist()


def _tile(matches: Matches, row: int, image: Picture, classes: Sequence[str]) -> NDArray[np.uint8]:
    true = np.flatnonzero(matches.gt_image == row)
    mine = np.flatnonzero(matches.det_image == row)
    surest = mine[np.argsort(-matches.det_score[mine], kind="stable")][: len(true)]
    truth = BoxSet(matches.gt_box[true], matches.gt_class[true])
    found = (x[surest] for x in (matches.det_box, matches.det_class, matches.det_score))
    zoom = TILE / max(image.shape[:2])
    return draw_frame(image, truth, BoxSet(*found), classes, zoom=zoom)
