"""Pictures of events and boxes: events, counts or stacked histograms to RGB images.

Images are (H, W, 3) uint8 RGB; boxes are xyxy_abs in the px of the events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from eventcam.errors import EventDataError
from eventcam.io import Events
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
_COUNT_SCALE = 0.7  # events on a pixel after which its colour is 63 % there


@dataclass(frozen=True)
class BoxSet:
    """Boxes of one image.

    Attributes:
        boxes: (N, 4) xyxy_abs, px of the events.
        classes: (N,) class ids.
        scores: (N,) 0 to 1; None for ground truth.
    """

    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: np.ndarray | None = None

    @classmethod
    def from_labels(cls, labels: np.ndarray) -> BoxSet:
        """From a structured array of labels (x, y, w, h, class_id)."""
        x, y, w, h = (labels[name].astype(np.float64) for name in "xywh")
        return cls(np.stack([x, y, x + w, y + h], axis=1), labels["class_id"].astype(np.int64))


def count_events(events: Events, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """ON and OFF events per pixel, (H, W) int64 each; events outside the sensor are left out."""
    inside = (events.x < width) & (events.y < height)
    pixels = events.y[inside].astype(np.int64) * width + events.x[inside]
    brighter = events.p[inside] > 0
    on, off = (
        np.bincount(pixels[chosen], minlength=width * height).reshape(height, width)
        for chosen in (brighter, ~brighter)
    )
    return on, off


def count_histogram(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ON and OFF counts of a stacked histogram (2 * bins, H, W), whose first half is OFF."""
    if histogram.ndim != 3 or histogram.shape[0] % 2:
        raise EventDataError(
            f"A stacked histogram has the shape (2 * bins, H, W); this one is {histogram.shape}."
        )
    bins = histogram.shape[0] // 2
    off, on = (part.sum(axis=0, dtype=np.int64) for part in (histogram[:bins], histogram[bins:]))
    return on, off


def counts_to_image(on: np.ndarray, off: np.ndarray, theme: Theme = DARK) -> np.ndarray:
    """Colour per pixel: the more events, the farther from the background.

    Args:
        on: (H, W) number of events that report "brighter"; ``off`` likewise "darker".
        theme: colours.
    """
    total = on + off
    strength = 1 - np.exp(-total.astype(np.float32) / _COUNT_SCALE)
    share = (on / np.maximum(total, 1)).astype(np.float32)
    background, brighter, darker = (
        np.array(colour, np.float32) for colour in (theme.background, theme.brighter, theme.darker)
    )
    colour = darker + share[:, :, None] * (brighter - darker)
    image = background + strength[:, :, None] * (colour - background)
    return np.round(image).astype(np.uint8)


def render_frame(
    counts: tuple[np.ndarray, np.ndarray],
    truth: BoxSet | None = None,
    predictions: BoxSet | None = None,
    class_names: Sequence[str] = (),
    theme: Theme = DARK,
    zoom: int = 1,
    caption: str = "",
) -> np.ndarray:
    """Events with boxes: ground truth dashed where there are predictions too, else solid.

    Args:
        counts: ON and OFF events per pixel, (H, W) each.
        truth: labelled boxes.
        predictions: boxes with scores.
        class_names: by class id; ids beyond it are shown as numbers.
        theme: colours.
        zoom: whole-number enlargement, so that text is legible over few pixels.
        caption: a line at the top left.
    """
    image = counts_to_image(*counts, theme)
    image = np.ascontiguousarray(image.repeat(zoom, axis=0).repeat(zoom, axis=1))
    named = truth if predictions is None else predictions
    if predictions is not None:
        _draw_boxes(image, predictions, theme, zoom, dashed=False)
    if truth is not None:  # later, so that its dashes are seen on a box that fits exactly
        _draw_boxes(image, truth, theme, zoom, dashed=predictions is not None)
    if named is not None:  # last, so that no box crosses a name
        _name_boxes(image, named, class_names, theme, zoom)
    if caption:
        write_text(image, caption, (0, 0), theme.truth, theme.background)
    return image


def zoom_for(width: int, target: int) -> int:
    """The enlargement that brings ``width`` px to about ``target``."""
    return max(1, round(target / width))


def _draw_boxes(image: np.ndarray, found: BoxSet, theme: Theme, zoom: int, dashed: bool) -> None:
    thick = max(1, round(min(image.shape[:2]) / 240))
    for box, class_id in zip(found.boxes, found.classes, strict=True):
        corners = np.round(np.asarray(box) * zoom).astype(int)
        colour = theme.truth if dashed else _class_colour(int(class_id), theme)
        (_dashed_box if dashed else _solid_box)(image, corners, colour, thick)


def _name_boxes(
    image: np.ndarray, found: BoxSet, names: Sequence[str], theme: Theme, zoom: int
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
    colour = CLASS_COLOURS[class_id % len(CLASS_COLOURS)]
    return _darkened(colour) if theme.background[0] > 128 else colour


def _darkened(colour: Colour) -> Colour:
    red, green, blue = (int(0.6 * part) for part in colour)
    return red, green, blue


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


def contact_sheet(
    images: Sequence[np.ndarray], columns: int = 4, gap: int = 6, theme: Theme = DARK
) -> np.ndarray:
    """Images of one size side by side, row by row."""
    if not images or len({image.shape for image in images}) != 1:
        raise EventDataError(
            f"A contact sheet needs at least one image and all of one size; found were "
            f"{sorted({image.shape for image in images})}."
        )
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    ground = [min(part + 30, 255) if part < 128 else part - 30 for part in theme.background]
    size = (rows * (height + gap) + gap, columns * (width + gap) + gap, 1)
    sheet = np.tile(np.array(ground, np.uint8), size)
    for number, image in enumerate(images):
        y = gap + number // columns * (height + gap)
        x = gap + number % columns * (width + gap)
        sheet[y : y + height, x : x + width] = image
    return sheet


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an RGB image; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # imencode and write_bytes: cv2.imwrite cannot write to every unicode path on every system.
    _, data = cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]))
    path.write_bytes(data.tobytes())
