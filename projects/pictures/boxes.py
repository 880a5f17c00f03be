"""Boxes with class names and scores on RGB images; boxes are xyxy_abs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pictures.text import Colour, Rectangle, free_place, write_text


@dataclass(frozen=True)
class Theme:
    """Colours (RGB). ON and OFF are blue and orange, which colour-blind people tell apart."""

    background: Colour
    brighter: Colour
    darker: Colour
    truth: Colour
    text: Colour


DARK = Theme((13, 17, 23), (88, 166, 255), (255, 160, 64), (240, 246, 252), (13, 17, 23))
LIGHT = Theme((255, 255, 255), (0, 90, 181), (214, 92, 0), (40, 40, 40), (255, 255, 255))

# Of different lightness and hue, and none close to the two colours of the events.
CLASS_COLOURS: tuple[Colour, ...] = (
    (86, 220, 160),
    (240, 228, 66),
    (204, 121, 220),
    (255, 105, 120),
    (120, 220, 235),
    (255, 180, 215),
    (180, 180, 190),
    (160, 130, 255),
)


@dataclass(frozen=True)
class BoxSet:
    """Boxes of one image.

    Attributes:
        boxes: (N, 4) xyxy_abs, px of the image.
        classes: (N,) class ids.
        scores: (N,) 0 to 1; None for ground truth.
    """

    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: np.ndarray | None = None


def draw_boxes(
    image: np.ndarray,
    truth: BoxSet | None = None,
    predictions: BoxSet | None = None,
    class_names: Sequence[str] = (),
    theme: Theme = DARK,
    zoom: float = 1,
) -> None:
    """Draw upon an RGB image (H, W, 3): truth dashed where there are predictions too, else solid.

    Args:
        image: enlarged by ``zoom`` already.
        truth: labelled boxes, px of the image before it was enlarged.
        predictions: boxes with scores, likewise.
        class_names: by class id; ids beyond it are shown as numbers.
        theme: colours.
        zoom: px of ``image`` per px of the boxes.
    """
    named = truth if predictions is None else predictions
    if predictions is not None:
        _outline(image, predictions, theme, zoom, dashed=False)
    if truth is not None:  # later, so that its dashes are seen on a box that fits exactly
        _outline(image, truth, theme, zoom, dashed=predictions is not None)
    if named is not None:  # last, so that no box crosses a name
        _name_boxes(image, named, class_names, theme, zoom)


def _outline(image: np.ndarray, found: BoxSet, theme: Theme, zoom: float, dashed: bool) -> None:
    thick = max(1, round(min(image.shape[:2]) / 240))
    for box, class_id in zip(found.boxes, found.classes, strict=True):
        corners = np.round(np.asarray(box) * zoom).astype(int)
        colour = theme.truth if dashed else _class_colour(int(class_id), theme)
        (_dashed_box if dashed else _solid_box)(image, corners, colour, thick)


def _name_boxes(
    image: np.ndarray, found: BoxSet, names: Sequence[str], theme: Theme, zoom: float
) -> None:
    written: list[Rectangle] = []
    for number, (box, class_id) in enumerate(zip(found.boxes, found.classes, strict=True)):
        corners = np.round(np.asarray(box) * zoom).astype(int)
        score = None if found.scores is None else float(found.scores[number])
        tag = _tag(int(class_id), score, names)
        written.append(free_place(image, tag, corners, written))
        colour = _class_colour(int(class_id), theme)
        write_text(image, tag, written[-1][:2], theme.text, colour)


def _class_colour(class_id: int, theme: Theme) -> Colour:
    red, green, blue = CLASS_COLOURS[class_id % len(CLASS_COLOURS)]
    darker = 0.6 if theme.background[0] > 128 else 1
    return int(darker * red), int(darker * green), int(darker * blue)


def _tag(class_id: int, score: float | None, names: Sequence[str]) -> str:
    name = names[class_id] if 0 <= class_id < len(names) else str(class_id)
    return name if score is None else f"{name} {score:.2f}"


def _solid_box(image: np.ndarray, corners: np.ndarray, colour: Colour, thick: int) -> None:
    x0, y0, x1, y1 = corners.tolist()
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, thick)


def _dashed_box(image: np.ndarray, corners: np.ndarray, colour: Colour, thick: int) -> None:
    x0, y0, x1, y1 = corners.tolist()
    dash = 4 * thick
    for start in range(x0, x1, 2 * dash):
        for y in (y0, y1):
            cv2.line(image, (start, y), (min(start + dash, x1), y), colour, thick)
    for start in range(y0, y1, 2 * dash):
        for x in (x0, x1):
            cv2.line(image, (x, start), (x, min(start + dash, y1)), colour, thick)
