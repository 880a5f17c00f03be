"""Lines of text on RGB images (H, W, 3) uint8, as large as the image asks for."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]  # RGB
Rectangle = tuple[int, int, int, int]  # xyxy, px of the image

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_PX = 12  # height of a line of text on a picture of 480 rows, and the least of all
_CAPITAL_PX = 26  # of a line of this font at size 1


def write_text(
    image: np.ndarray, text: str, place: tuple[int, int], colour: Colour, ground: Colour
) -> None:
    """One line of text on a filled ground, moved inside the image.

    Args:
        image: drawn upon.
        text: ASCII; the font has nothing else.
        place: left and top, px.
        colour: of the text.
        ground: behind it.
    """
    left, top, right, bottom = text_box(image, text, place)
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), ground, cv2.FILLED)
    _put(image, text, (left + 2, bottom - 4), _font_size(bottom - top), colour)


def text_box(image: np.ndarray, text: str, place: tuple[int, int]) -> Rectangle:
    """Where a line with its ground lies: its left and top at ``place``, moved inside the image."""
    width, line = _text_width(image, text), _line_height(image)
    x = min(max(place[0], 0), max(image.shape[1] - width, 0))
    y = min(max(place[1], 0), max(image.shape[0] - line, 0))
    return x, y, x + width, y + line


def with_title(
    image: np.ndarray,
    text: str,
    colour: Colour,
    ground: Colour,
    legend: Sequence[tuple[str, Colour]] = (),
) -> np.ndarray:
    """The image below a band with one line of text; itself if there is no text.

    Text that is wider than the image is drawn smaller.

    Args:
        image: RGB.
        text: ASCII.
        colour: of the text.
        ground: behind it.
        legend: names with the colours that they explain, after the text.
    """
    if not text:
        return image
    line = _line_height(image)
    parts = [(text, colour, ground), *((f" {name} ", ground, fill) for name, fill in legend)]
    width = sum(_text_width(image, part) + 8 for part, _, _ in parts)
    size = _font_size(line) * min(1.0, (image.shape[1] - 12) / width)
    band = np.full((line + 10, image.shape[1], 3), ground, np.uint8)
    left = 6
    for part, ink, fill in parts:
        right = left + _put_width(part, size)
        cv2.rectangle(band, (left, 3), (right, line + 6), fill, cv2.FILLED)
        _put(band, part, (left, line + 1), size, ink)
        left = right + 8
    return np.concatenate([band, image])


def _put(
    image: np.ndarray, text: str, baseline: tuple[int, int], size: float, colour: Colour
) -> None:
    thick = max(1, round(size))
    cv2.putText(image, text, baseline, _FONT, size, colour, thick, cv2.LINE_AA)


def _line_height(image: np.ndarray) -> int:
    return round(_TEXT_PX * max(1.0, min(image.shape[:2]) / 480)) + 4


def _font_size(line: int) -> float:
    return (line - 4) / _CAPITAL_PX


def _text_width(image: np.ndarray, text: str) -> int:
    return _put_width(text, _font_size(_line_height(image))) + 4


def _put_width(text: str, size: float) -> int:
    return cv2.getTextSize(text, _FONT, size, max(1, round(size)))[0][0]
