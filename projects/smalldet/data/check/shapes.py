"""Boxes as the network sees them: in px of its input, to which images are resized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from tabulate import tabulate

_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class BoxShapes:
    """The N boxes to learn from in M images.

    Attributes:
        sides: (N,) square root of the area, px of the network input.
        ratios: (N,) height / width in the network input.
        per_image: (M,) number of boxes.
    """

    sides: np.ndarray
    ratios: np.ndarray
    per_image: np.ndarray

    def smaller_than(self, side: float) -> float:
        """Share of the boxes, 0 to 1; 0 of none."""
        return float(np.mean(self.sides < side)) if len(self.sides) else 0.0


def box_shapes(
    records: Sequence[Mapping[str, Any]], image_size: int, keep_aspect: bool = False
) -> BoxShapes:
    """Measure the boxes of images that are resized to a square.

    Args:
        records: images in Detectron2's format; crowd boxes do not count.
        image_size: height and width of the network input, px.
        keep_aspect: fitted into it instead of stretched to it.
    """
    sizes = []
    for record in records:
        stretch = image_size / record["width"], image_size / record["height"]
        stretch = (min(stretch),) * 2 if keep_aspect else stretch
        learned = [entry for entry in record["annotations"] if not entry.get("iscrowd")]
        boxes = (
            BoxMode.convert(list(entry["bbox"]), entry["bbox_mode"], BoxMode.XYWH_ABS)
            for entry in learned
        )
        sizes.append([(box[2] * stretch[0], box[3] * stretch[1]) for box in boxes])
    return shapes_of(sizes)


def shapes_of(sizes: Sequence[Any]) -> BoxShapes:
    """The shapes of boxes of M images: arrays or lists (n, 2) of width and height, px."""
    rows = [np.asarray(found, dtype=float).reshape(-1, 2) for found in sizes]
    widths, heights = np.concatenate([np.zeros((0, 2)), *rows]).T
    per_image = np.array([len(found) for found in sizes], dtype=int)
    return BoxShapes(np.sqrt(widths * heights), heights / widths, per_image)


def shapes_table(splits: Mapping[str, BoxShapes], stride: int, anchor: float) -> str:
    """The splits side by side.

    Args:
        splits: by name.
        stride: of the finest level of the network, px of its input.
        anchor: side of its smallest anchor, px of its input.
    """
    names = [
        "boxes",
        "mean number in an image",
        "most in an image",
        *(f"side, px: {share:.0%}" for share in _SHARES),
        f"below the finest stride, {stride} px",
        f"below the smallest anchor, {anchor:g} px",
        *(f"height / width: {share:.0%}" for share in _SHARES),
    ]
    columns = [_column(shapes, stride, anchor) for shapes in splits.values()]
    rows = zip(names, *columns, strict=True)
    return tabulate(rows, ["", *splits], "plain", colalign=("left", *["right"] * len(splits)))


def _column(shapes: BoxShapes, stride: int, anchor: float) -> list[str]:
    counts = shapes.per_image
    return [
        f"{len(shapes.sides)}",
        f"{counts.mean():.1f}" if len(counts) else "-",
        f"{counts.max()}" if len(counts) else "-",
        *_quantiles(shapes.sides),
        f"{shapes.smaller_than(stride):.1%}",
        f"{shapes.smaller_than(anchor):.1%}",
        *_quantiles(shapes.ratios),
    ]


def _quantiles(values: np.ndarray) -> list[str]:
    if not len(values):
        return ["-"] * len(_SHARES)
    return [f"{value:.3g}" for value in np.quantile(values, _SHARES)]
