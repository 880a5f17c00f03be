"""What to set for boxes of these sizes, as overrides for the configs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from smalldet.data.check.shapes import BoxShapes

CELLS = 2  # of the finest level, that the side of a small box should span
SMALL = 0.1  # share of the boxes that may be smaller
EXTREME = 0.05  # share of the boxes at either end that anchors may leave out
LARGEST_INPUT = 1024  # px; more does not train on a card of 8 GB
STEP = 32  # px, of input sizes
LEVELS = 5  # of anchors, each at least twice the one before
RATIOS = (0.5, 2.0)  # height / width of the flattest and the tallest anchor
SMALL_SIDE = 32  # px of the network input
_PLAIN = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_./][\w./-]*", re.ASCII | re.I)
_ANCHORS = "model.proposal_generator.anchor_generator"


def size_advice(shapes: BoxShapes, image_size: int, original: float, stride: int) -> dict[str, int]:
    """Input and tile size at which all but the smallest boxes span ``CELLS`` cells.

    Args:
        shapes: of the training boxes at ``image_size``.
        image_size: height and width of the network input, px.
        original: longer side of a usual image, px.
        stride: of the finest level, px of the input.

    Returns:
        Values by config key; empty if ``image_size`` will do.
    """
    small = float(np.quantile(shapes.sides, SMALL)) if len(shapes.sides) else np.inf
    wanted = image_size * CELLS * stride / small
    if wanted <= image_size:
        return {}
    size = min(_whole(wanted), max(LARGEST_INPUT, image_size))
    found = {"dataloader.image_size": size}
    if size < wanted:
        tile = max(1, int(original * size / wanted))
        found |= {f"evaluation.{split}.tile": tile for split in ("valid", "test")}
    return found


def anchor_advice(shapes: BoxShapes, zoom: float, stride: int, anchor: float) -> dict[str, Any]:
    """Anchors that reach from the smallest boxes to the largest.

    Args:
        shapes: of the training boxes.
        zoom: how much larger the input will be than it was for ``shapes``.
        stride: of the finest level, px of the input.
        anchor: smallest anchor as it is, px of the input.

    Returns:
        Values by config key; empty if the anchors will do.
    """
    if not len(shapes.sides):
        return {}
    found: dict[str, Any] = {}
    low, high = zoom * np.quantile(shapes.sides, [EXTREME, 1 - EXTREME])
    if low < anchor / np.sqrt(2):
        first = max(low, stride)
        factor = max(2.0, (high / first) ** (1 / (LEVELS - 1)))
        found[f"{_ANCHORS}.sizes"] = [[round(first * factor**level)] for level in range(LEVELS)]
    flat, tall = np.quantile(shapes.ratios, [EXTREME, 1 - EXTREME])
    if flat < RATIOS[0] / np.sqrt(2) or tall > RATIOS[1] * np.sqrt(2):
        ratios = np.quantile(shapes.ratios, [SMALL, 0.5, 1 - SMALL])
        found[f"{_ANCHORS}.aspect_ratios"] = [float(f"{ratio:.2g}") for ratio in ratios]
    return found


def config_advice(shapes: BoxShapes) -> str:
    """The config to begin with where most training boxes are small; else empty."""
    if shapes.smaller_than(SMALL_SIDE) < 0.5:
        return ""
    return (
        "Most boxes are small. Without pretrained weights, begin with "
        "--config-file configs/examples/small_heads.py."
    )


def overrides(values: Mapping[str, Any]) -> list[str]:
    """``key=value`` in the grammar of the command line, not yet quoted for a shell."""
    return [f"{key}={_written(value)}" for key, value in values.items()]


def _whole(size: float) -> int:
    return int(-(-size // STEP) * STEP)


def _written(value: Any) -> str:
    if isinstance(value, Mapping):  # keys cannot be quoted
        pairs = (f"{_escaped(key)}:{_written(child)}" for key, child in value.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return "'" + value.replace("'", r"\'") + "'"
    return str(value)


def _escaped(key: str) -> str:
    return re.sub(r"([\\()\[\]{}:=, ])", r"\\\1", key)
