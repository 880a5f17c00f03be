"""Where the label of a box goes: outside of it, where it hides nothing, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pictures.text import Colour, Rectangle, text_box, write_text

MOST_HIDDEN = 0.1  # of any box, by one label


class Label(NamedTuple):
    """A line of text on a ground for a box (xyxy, px of the image)."""

    text: str
    box: Rectangle
    ground: Colour


def write_labels(
    image: np.ndarray,
    labels: Sequence[Label],
    boxes: np.ndarray,
    colour: Colour,
    is_steady: bool = False,
) -> int:
    """Write the labels that hide neither an object nor one another, the first ones first.

    A label is left out where at every place around its box it would lie on another label or on
    more than a tenth of a box. So among small objects in a crowd few labels are seen, and all of
    the objects.

    Args:
        image: drawn upon.
        labels: by falling importance.
        boxes: (N, 4) xyxy, px of the image: all that must stay visible.
        colour: of the text.
        is_steady: above its box is the only place of a label, so that in a video it does not jump
            from one free place to another.

    Returns:
        How many were written.
    """
    taken = np.zeros((0, 4))
    for label in labels:
        place = _free_place(image, label, boxes, taken, 1 if is_steady else None)
        if place is not None:
            write_text(image, label.text, place[:2], colour, label.ground)
            taken = np.vstack([taken, place])
    return len(taken)


def _free_place(
    image: np.ndarray, label: Label, boxes: np.ndarray, taken: np.ndarray, most: int | None
) -> Rectangle | None:
    """The first place around a box, of ``most``, moved inside the image, that hides nothing."""
    left, top, right, bottom = label.box
    _, _, width, height = text_box(image, label.text, (0, 0))
    corners = (
        (left, top - height),
        (left, bottom + 1),
        (right - width, top - height),
        (right - width, bottom + 1),
        (right + 1, top),
        (left - width, top),
    )
    for corner in corners[:most]:
        place = text_box(image, label.text, corner)
        if not (_hidden(boxes, place) > MOST_HIDDEN).any() and not _hidden(taken, place).any():
            return place
    return None


def _hidden(boxes: np.ndarray, place: Rectangle) -> np.ndarray:
    """(N,) the share of each box (N, 4) that lies under ``place``."""
    x0, y0, x1, y1 = boxes.T
    across = np.minimum(x1, place[2]) - np.maximum(x0, place[0])
    down = np.minimum(y1, place[3]) - np.maximum(y0, place[1])
    areas = np.maximum((x1 - x0) * (y1 - y0), 1)
    return across.clip(min=0) * down.clip(min=0) / areas
