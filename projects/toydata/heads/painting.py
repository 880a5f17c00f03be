"""A small drawing surface that knows which pixel belongs to which head.

Coordinates are image pixels (x right, y down) at the final resolution, colours are RGB 0..255.
Shapes are painted over one another; each also writes its label (0: not a head) into a label map,
so that what hides a head also removes it from the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np

Colour = tuple[float, float, float]
Choice = TypeVar("Choice")
_SHIFT = 4  # cv2 takes fixed-point coordinates: 4 bits below the point
_CORNERS = 28  # of an ellipse; enough to look round at 200 px


class Canvas:
    """Pixels and head labels of one picture in the making.

    Args:
        height: of the finished picture, px.
        width: of the finished picture, px.
        scale: shapes are painted this many times larger and averaged at the end.
    """

    def __init__(self, height: int, width: int, scale: int = 1) -> None:
        self.height, self.width, self.scale = height, width, scale
        self.pixels = np.zeros((height * scale, width * scale, 3), np.uint8)
        self.labels = np.zeros((height * scale, width * scale), np.uint16)

    def polygon(self, points: np.ndarray, colour: Colour, label: int = 0) -> None:
        """Fill the polygon ``points`` (N, 2)."""
        fixed = np.rint(points * (self.scale << _SHIFT)).astype(np.int32)
        cv2.fillPoly(self.pixels, [fixed], colour, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.labels, [fixed], (label,), cv2.LINE_8, _SHIFT)

    def ellipse(
        self,
        centre: np.ndarray,
        radii: tuple[float, float],
        colour: Colour,
        label: int = 0,
        angle: float = 0.0,
        arc: tuple[float, float] = (0.0, 360.0),
    ) -> None:
        """Fill an ellipse, or the part of it cut off by the chord of ``arc``.

        Args:
            centre: x, y.
            radii: along x and y before rotation, px.
            colour: RGB.
            label: the head that it belongs to, 0 for none.
            angle: rotation, degrees clockwise.
            arc: first and last angle, degrees clockwise from +x.
        """
        points = _unit_arc(*arc) * np.asarray(radii)
        self.polygon(points @ rotation(angle).T + centre, colour, label)

    def line(self, start: np.ndarray, end: np.ndarray, width: float, colour: Colour) -> None:
        """A straight bar with square ends; it hides heads as any shape does."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
        side = np.array([-along[1], along[0]]) * width / 2
        self.polygon(np.stack([start + side, end + side, end - side, start - side]), colour)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill an axis-parallel rectangle (xyxy)."""
        self.polygon(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), colour)

    def finished(self) -> np.ndarray:
        """The picture, (height, width, 3) uint8 RGB."""
        if self.scale == 1:
            return self.pixels
        size = (self.width, self.height)
        return cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=64)
def _unit_arc(first: float, last: float) -> np.ndarray:
    angles = np.deg2rad(np.linspace(first, last, _CORNERS, endpoint=last - first < 360))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def rotation(degrees: float) -> np.ndarray:
    """The (2, 2) matrix that turns x, y clockwise on the screen."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


def palette(hexes: str) -> list[Colour]:
    """The RGB colours of a list such as "f8d6b8 603e2c"."""
    return [(red, green, blue) for red, green, blue in map(bytes.fromhex, hexes.split())]


def move(point: np.ndarray, right: float, down: float) -> np.ndarray:
    """``point`` moved by so many px."""
    return point + np.array([right, down])


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (factor < 1) or lighter (factor > 1), inside 0..255."""
    red, green, blue = (min(max(channel * factor, 0.0), 255.0) for channel in colour)
    return red, green, blue


def vary(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """``colour`` with each channel moved by up to ``amount``."""
    red, green, blue = np.clip(np.asarray(colour) + rng.uniform(-amount, amount, 3), 0, 255)
    return float(red), float(green), float(blue)


def pick(rng: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """One of ``choices``, evenly."""
    return choices[int(rng.integers(len(choices)))]
