"""Boxes with class names and scores on RGB images; boxes are xyxy_abs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pictures.labels import Label, write_labels
from pictures.text import Colour


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
    class_names: Sequence[str] | None = (),
    theme: Theme = DARK,
    zoom: float = 1,
    is_steady: bool = False,
) -> None:
    """Draw upon an RGB image (H, W, 3): truth dashed where there are predictions too, else solid.

    Predictions (without any: truth) have labels: name and score, the surest first, where they hide
    nothing; see :func:`pictures.labels.write_labels`. If there is only one class, its name is left
    out.

    Args:
        image: enlarged by ``zoom`` already.
        truth: labelled boxes, px of the image before it was enlarged.
        predictions: boxes with scores, likewise.
        class_names: by class id; ids beyond it are shown as numbers. None: no labels.
        theme: colours.
        zoom: px of ``image`` per px of the boxes.
        is_steady: of a video; see the same function.
    """
    named = truth if predictions is None else predictions
    if predictions is not None:
        _outline(image, predictions, theme, zoom, dashed=False)
    if truth is not None:  # later, so that its dashes are seen on a box that fits exactly
        _outline(image, truth, theme, zoom, dashed=predictions is not None)
    if named is not None and class_names is not None:  # last, so that no box crosses a name
        shown = [_corners(found, zoom) for found in (truth, predictions) if found is not None]
        labels = _labels(named, class_names, theme, zoom)
        write_labels(image, labels, np.concatenate(shown), theme.text, is_steady)


def class_legend(names: Sequence[str], theme: Theme = DARK) -> list[tuple[str, Colour]]:
    """Names of classes with their colours; of an only class nothing, which needs no name."""
    return [(name, _class_colour(k, theme)) for k, name in enumerate(names) if len(names) > 1]


def _outline(image: np.ndarray, found: BoxSet, theme: Theme, zoom: float, dashed: bool) -> None:
    thick = max(1, round(min(image.shape[:2]) / 240))
    for corners, class_id in zip(_corners(found, zoom), found.classes, strict=True):
        if dashed:
            dashed_box(image, corners, theme.truth, thick)
        else:
            x0, y0, x1, y1 = corners.tolist()
            cv2.rectangle(image, (x0, y0), (x1, y1), _class_colour(int(class_id), theme), thick)


def _corners(found: BoxSet, zoom: float) -> np.ndarray:
    """(N, 4) whole px of the enlarged image."""
    return np.round(np.asarray(found.boxes, float).reshape(-1, 4) * zoom).astype(int)


def _labels(found: BoxSet, names: Sequence[str], theme: Theme, zoom: float) -> list[Label]:
    """Those that say something, the surest first."""
    corners = _corners(found, zoom).tolist()
    scores = np.zeros(len(corners)) if found.scores is None else np.asarray(found.scores)
    labels = []
    for row in np.argsort(-scores, kind="stable").tolist():
        class_id = int(found.classes[row])
        score = None if found.scores is None else float(scores[row])
        if text := _text(class_id, score, names):
            labels.append(Label(text, tuple(corners[row]), _class_colour(class_id, theme)))
    return labels


def _class_colour(class_id: int, theme: Theme) -> Colour:
    red, green, blue = CLASS_COLOURS[class_id % len(CLASS_COLOURS)]
    darker = 0.6 if theme.background[0] > 128 else 1
    return int(darker * red), int(darker * green), int(darker * blue)


def _text(class_id: int, score: float | None, names: Sequence[str]) -> str:
    """Name and score, as far as there are some; the name of an only class says nothing."""
    name = names[class_id] if 0 <= class_id < len(names) else str(class_id)
    parts = [] if len(names) == 1 and class_id == 0 else [name]
    return " ".join(parts if score is None else [*parts, f"{score:.2f}"])


def dashed_box(image: np.ndarray, corners: np.ndarray, colour: Colour, thick: int) -> None:
    """Draw a box (4,), xyxy in whole px of an RGB image, with dashes of four times its line."""
    x0, y0, x1, y1 = corners.tolist()
    dash = 4 * thick
    for start in range(x0, x1, 2 * dash):
        for y in (y0, y1):
            cv2.line(image, (start, y), (min(start + dash, x1), y), colour, thick)
    for start in range(y0, y1, 2 * dash):
        for x in (x0, x1):
            cv2.line(image, (x, start), (x, min(start + dash, y1)), colour, thick)
