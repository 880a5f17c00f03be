"""What one picture of a recording shows: events as counts, labels as boxes (px of the events)."""

from __future__ import annotations

import numpy as np

from eventcam.io import Events
from pictures.boxes import BoxSet


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
