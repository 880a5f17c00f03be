"""Pictures of events and boxes: events, counts or stacked histograms to RGB images.

Images are (H, W, 3) uint8 RGB; boxes are xyxy_abs in the px of the events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io import Events
from pictures.boxes import DARK, BoxSet, Theme, draw_boxes
from pictures.text import write_text

_COUNT_SCALE = 0.7  # events on a pixel after which its colour is 63 % there


def labelled_boxes(labels: np.ndarray) -> BoxSet:
    """From a structured array of labels (x, y, w, h, class_id)."""
    x, y, w, h = (labels[name].astype(np.float64) for name in "xywh")
    return BoxSet(np.stack([x, y, x + w, y + h], axis=1), labels["class_id"].astype(np.int64))


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
    draw_boxes(image, truth, predictions, class_names, theme, zoom)
    if caption:
        write_text(image, caption, (0, 0), theme.truth, theme.background)
    return image


def zoom_for(width: int, target: int) -> int:
    """The enlargement that brings ``width`` px to about ``target``."""
    return max(1, round(target / width))
