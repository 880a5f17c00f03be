"""Sizes of the ground truth: which boxes a data set has, and where to cut small from medium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from boxmetrics.boxes import Floats


class SizeThresholds(NamedTuple):
    """Square pixels: small is below ``small``, medium from there to below ``medium``."""

    small: int
    medium: int


class SizeRow(NamedTuple):
    """One row of the size table: how many boxes of a class fall into each bin."""

    name: str
    small: int
    medium: int
    large: int
    median_area: float | None  # square pixels; None without boxes

    @property
    def total(self) -> int:
        """All boxes of the class."""
        return self.small + self.medium + self.large


def size_thresholds(
    areas: ArrayLike, fractions: tuple[float, float] = (1 / 3, 2 / 3)
) -> SizeThresholds:
    """Thresholds that put the same share of ground-truth boxes into each size bin.

    They are quantiles of the area, by default terciles, rounded to whole square pixels. Taken from
    the data, they follow its resolution; so give areas in the pixels in which the thresholds will
    be used, which for a loss are those of the network's input.

    Args:
        areas: Of the ground-truth boxes (G,) of the training split, square pixels.
        fractions: Share of boxes below ``small`` and below ``medium``, rising, between 0 and 1.

    Raises:
        ValueError: no boxes, areas that are not positive, fractions that do not rise, or boxes so
            alike that both thresholds fall together.
    """
    values = _checked_areas(areas)
    if not 0 < fractions[0] < fractions[1] < 1:
        raise ValueError(
            f"Fractions {fractions} were given; two rising numbers between 0 and 1 are expected, "
            "such as (1/3, 2/3)."
        )
    if not len(values):
        raise ValueError(
            "No ground-truth box was given, so no size thresholds can be taken from the data. "
            "Check that the split has labels and that the class map keeps them."
        )
    small, medium = (int(value) for value in np.rint(np.quantile(values, fractions)))
    if not 0 < small < medium:
        raise ValueError(
            f"The thresholds came out as {small} and {medium} square pixels; two rising positive "
            f"ones are expected. The {len(values)} boxes are too alike or too small to be cut in "
            "three: use other fractions or set the thresholds by hand."
        )
    return SizeThresholds(small, medium)


def size_table(
    areas: ArrayLike, box_classes: ArrayLike, names: Sequence[str], thresholds: SizeThresholds
) -> list[SizeRow]:
    """Boxes by class and size bin; the last row, ``all``, is the sum.

    Args:
        areas: Of the ground-truth boxes (G,), in the square pixels of ``thresholds``.
        box_classes: Their classes (G,), counted from 0.
        names: Of the classes; each gets a row, also without boxes.
        thresholds: Where to cut.

    Raises:
        ValueError: areas that are not positive, or classes without a name.
    """
    values, classes = _checked_areas(areas), np.asarray(box_classes, np.int64)
    if len(classes) and not 0 <= classes.min() <= classes.max() < len(names):
        raise ValueError(
            f"Classes {classes.min()} to {classes.max()} were given, but only {len(names)} names, "
            "counted from 0. Give the names of the class map that the labels were made with."
        )
    rows = [_row(name, values[classes == k], thresholds) for k, name in enumerate(names)]
    return [*rows, _row("all", values, thresholds)]


def table_text(rows: Sequence[SizeRow], thresholds: SizeThresholds) -> str:
    """The size table for a terminal, with the limits of the bins and each class's median side."""
    small, medium = thresholds
    titles = ("", "boxes", f"< {small:,} px²", f"< {medium:,} px²", "larger", "median side, px")
    cells: list[tuple[str, ...]] = [titles]
    for row in rows:
        counts = (f"{count:,}" for count in (row.total, row.small, row.medium, row.large))
        side = "-" if row.median_area is None else f"{row.median_area**0.5:.1f}"
        cells.append((row.name, *counts, side))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{'>' if i else '<'}{widths[i]}}" for i, cell in enumerate(line))
        for line in cells
    )


def _row(name: str, areas: Floats, thresholds: SizeThresholds) -> SizeRow:
    bins = np.searchsorted(thresholds, areas, side="right")
    small, medium, large = np.bincount(bins, minlength=3).tolist()
    return SizeRow(name, small, medium, large, float(np.median(areas)) if len(areas) else None)


def _checked_areas(areas: ArrayLike) -> Floats:
    values = np.asarray(areas, dtype=np.float64).reshape(-1)
    if not (np.isfinite(values) & (values > 0)).all():
        wrong = values[~(np.isfinite(values) & (values > 0))]
        raise ValueError(
            f"{len(wrong)} of {len(values)} areas are not positive numbers (the first is "
            f"{wrong[0]}). Flat boxes have no size: drop them, and count them, before."
        )
    return values
