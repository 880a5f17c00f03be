"""A canvas in metres for the generator's pictures, and the pictures at falling resolutions.

Coordinates are metres: x to the right from the left edge of the object, y upwards from the
ground. Luminance is linear, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_SUBPIXEL_BITS = 4
_LEVEL_SHRINKS = 0.5
_SMALLEST_LEVEL_PX = 6

Point = tuple[float, float]


@dataclass(frozen=True)
class Sprite:
    """One picture at falling resolutions.

    Attributes:
        levels: (h, w, 2) float32 each: luminance times alpha, alpha. A transparent border of one
            pixel surrounds each.
        extent: left, top, right, bottom of what is opaque, relative to the painted area (0 to 1).
        opaque: share of the painted area that is opaque.
        aspect: width of the painted area divided by its height.
    """

    levels: tuple[np.ndarray, ...]
    extent: tuple[float, float, float, float]
    opaque: float
    aspect: float


class Canvas:
    """Paints filled shapes in metres with smooth edges."""

    def __init__(self, width_m: float, height_m: float, px_per_metre: float) -> None:
        self.width_m, self.height_m = width_m, height_m
        rows = max(round(height_m * px_per_metre), 4)
        columns = max(round(width_m * px_per_metre), 3)
        self._scale = np.array([columns / width_m, rows / height_m])
        self._layers = [np.zeros((rows, columns), np.uint8) for _ in range(2)]

    def polygon(self, points: Sequence[Point] | np.ndarray, luminance: float) -> None:
        self._fill(np.asarray(points)[None], luminance)

    def box(self, x0: float, y0: float, x1: float, y1: float, luminance: float) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], luminance)

    def oval(self, x: float, y: float, rx: float, ry: float, luminance: float) -> None:
        turn = np.linspace(0, 2 * np.pi, 25)[:-1]
        self.polygon(np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1), luminance)

    def ring(self, x: float, y: float, radius: float, thick: float, luminance: float) -> None:
        turn = np.linspace(0, 2 * np.pi, 25)
        points = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1)
        self._fill(_bars(points[:-1], points[1:], thick), luminance)

    def bar(self, start: Point, end: Point, thick: float, luminance: float) -> None:
        self._fill(_bars(np.array([start]), np.array([end]), thick), luminance)

    def _fill(self, outlines: np.ndarray, luminance: float) -> None:
        """Shapes (n, corners, 2), one after the other: where two overlap, both are seen."""
        pixels = np.array([0.0, self.height_m]) + outlines * [1.0, -1.0]
        corners = np.round((pixels * self._scale - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
        for layer, value in zip(self._layers, (luminance, 1.0), strict=True):
            for shape in corners:
                cv2.fillPoly(layer, [shape], round(255 * value), cv2.LINE_AA, _SUBPIXEL_BITS)

    def sprite(self, texture: np.ndarray, flipped: bool) -> Sprite:
        """The finished picture; ``texture`` (n, n) multiplies its luminance."""
        alpha = self._layers[1].astype(np.float32) / 255
        rows, columns = alpha.shape
        grain = cv2.resize(texture, (columns, rows), interpolation=cv2.INTER_CUBIC)
        luminance = self._layers[0].astype(np.float32) / 255 * grain
        picture = np.stack([luminance, alpha], axis=2)
        picture = picture[:, ::-1] if flipped else picture
        solid = picture[:, :, 1] > 0.5
        levels, aspect = _levels(np.ascontiguousarray(picture)), self.width_m / self.height_m
        return Sprite(levels, _extent(solid), float(solid.mean()), aspect)


def _bars(starts: np.ndarray, ends: np.ndarray, thick: float) -> np.ndarray:
    """Corners (n, 4, 2) of bars between points (n, 2)."""
    along = ends - starts
    length = np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-6)
    across = along[:, ::-1] * [-1.0, 1.0] / length * thick / 2
    return np.stack([starts + across, ends + across, ends - across, starts - across], 1)


def _extent(solid: np.ndarray) -> tuple[float, float, float, float]:
    columns, rows = np.flatnonzero(solid.any(axis=0)), np.flatnonzero(solid.any(axis=1))
    height, width = solid.shape
    if not len(columns):
        return 0.0, 0.0, 1.0, 1.0
    left, right = float(columns[0] / width), float((columns[-1] + 1) / width)
    return left, float(rows[0] / height), right, float((rows[-1] + 1) / height)


def _levels(picture: np.ndarray) -> tuple[np.ndarray, ...]:
    levels = []
    while True:
        levels.append(cv2.copyMakeBorder(picture, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0))
        height, width = (round(side * _LEVEL_SHRINKS) for side in picture.shape[:2])
        if min(height, width) < _SMALLEST_LEVEL_PX:
            return tuple(levels)
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
