"""The figures of the report.

Each function returns an ``<svg>`` element with the given description as its title.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import blended_transform_factory
from pandas import DataFrame, Series

from labbook.report.figure import (
    BLUE,
    BOTTOM,
    GREY,
    GRID,
    HEIGHT,
    LEFT,
    ORANGE,
    QUIET,
    STYLE,
    TEXT,
    TOP,
    WIDTH,
    new_axes,
    tick,
    to_svg,
)  # fmt: skip

_COLOURS = {"better": BLUE, "worse": ORANGE}
"""Of a difference by its verdict; grey where nothing is known."""

_LINE, _ROW = 13, 58  # heights of a line of text and of a row of the forest
_TICK = 16  # half the width of a tick's text, which stands below the end of the axis
_LONGEST = 18  # characters of a label within a figure
_DASHED: dict[str, Any] = {"linestyle": (0, (3, 3)), "linewidth": 1}

Limits = tuple[float, float]


class Chart(NamedTuple):
    """A figure of the page."""

    title: str
    drawing: Markup
    note: str = ""


class Line(NamedTuple):
    """A curve; its index is the horizontal axis."""

    curve: Series
    is_reference: bool = False
    is_dashed: bool = False
    is_further: bool = False
    """A further seed: thin."""
    end: str = ""
    """Label at its last point."""


def limits(values: Iterable[float], least: float, share: float = 0.1) -> Limits:
    """Limits of an axis: the range of ``values`` with a margin, at least ``least`` wide.

    Of values that are not negative, neither are the limits. NaN is left out.
    """
    known = np.asarray([*values], float)
    known = known[np.isfinite(known)]
    if not len(known):
        return 0.0, least
    low, high = float(known.min()), float(known.max())
    margin = max(share * (high - low), (least - (high - low)) / 2)
    start = low - margin if low < 0 else max(low - margin, 0.0)
    return start, max(high + margin, start + least)


def front(found: DataFrame) -> DataFrame:
    """The rows (``cost``, ``score``) that no other beats: as cheap and as good, or better."""
    rows = found.sort_values(["cost", "score"], ascending=[True, False])
    return rows[rows["score"] > rows["score"].cummax().shift(fill_value=-np.inf)]


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """``positions`` moved to be ``gap`` apart in their order and, if they fit, in [low, high]."""
    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(len(order))
    placed = np.maximum.accumulate(np.maximum(np.take(positions, order) - steps, low))
    placed = np.minimum(placed, high - gap * (len(order) - 1)) + steps
    return placed[np.argsort(order)].tolist()


@rc_context(STYLE)
def forest(found: DataFrame, description: str) -> Markup:
    """Each difference with its interval, below its name and its value, on one axis through 0.

    Args:
        found: columns ``name``, ``note``, ``text``, ``word`` and ``verdict`` (which say what the
            interval supports), ``estimate``, ``low``, ``high`` (NaN without an interval).
        description: for those who cannot see it.
    """
    figure, axes = new_axes(_ROW * len(found) + 24, (_TICK, _TICK, 4, 20))
    ends = found[["estimate", "low", "high"]].to_numpy()
    axes.set(xlim=limits([0, *ends.flat], 2), ylim=(len(found), 0), yticks=[])
    whole_width = blended_transform_factory(figure.transFigure, axes.transData)
    place: dict[str, Any] = {"transform": whole_width}
    for top, one in enumerate(found.itertuples()):
        colour, middle = _COLOURS.get(one.verdict, GREY), top + 0.75
        axes.plot([0, 1], [top, top], color=GRID, linewidth=0.8, clip_on=False, **place)
        axes.plot([0, 0], [middle - 0.13, middle + 0.13], color=GREY, **_DASHED)
        axes.plot([one.low, one.high], [middle, middle], color=colour, linewidth=3)
        axes.plot(one.estimate, middle, "o", color=colour)
        first, second = top + 1.2 * _LINE / _ROW, top + 2.3 * _LINE / _ROW
        axes.text(0, first, shorten(one.name, 24), weight="bold", **place)
        axes.text(0, second, shorten(one.note, 44), color=QUIET, size=10, **place)
        axes.text(1, first, one.text, ha="right", **place)
        axes.text(1, second, one.word, color=colour, size=10, ha="right", **place)
    return to_svg(figure, description)


@rc_context(STYLE)
def levels(found: DataFrame, y_limits: Limits, x_title: str, description: str) -> Markup:
    """The score at each level of a factor with its interval, and rings for single seeds.

    Args:
        found: columns ``name``, ``score``, ``seeds`` (their scores), ``is_reference``, and of the
            difference to the reference ``verdict``, ``low`` and ``high`` as scores (NaN: none).
        y_limits: of the scores.
        x_title: the factor.
        description: for those who cannot see it.
    """
    figure, axes = new_axes()
    axes.set(xlim=(-0.5, len(found) - 0.5), ylim=y_limits, xlabel=shorten(x_title, 48))
    axes.set_xticks(range(len(found)), [shorten(name, 56 // len(found)) for name in found["name"]])
    axes.axhline(found["score"][found["is_reference"]].item(), color=GREY, **_DASHED)
    for place, level in enumerate(found.itertuples()):
        colour = _COLOURS.get(level.verdict, GREY)
        axes.plot([place, place], [level.low, level.high], color=colour, linewidth=3)
        if len(level.seeds) > 1:
            rings = {"markersize": 6, "markeredgecolor": GREY, "markeredgewidth": 1}
            beside = [place - 0.03 * len(found)] * len(level.seeds)
            axes.plot(beside, level.seeds, "o", color="none", **rings)
        axes.plot(place, level.score, "o", color=colour)
        above, text_colour = (9, QUIET) if level.is_reference else (0, TEXT)  # off the dashed line
        _label(axes, f"{level.score:.1f}", (place, level.score), (8, above), color=text_colour)
    return to_svg(figure, description)


@rc_context(STYLE)
def lines(
    found: Sequence[Line],
    y_limits: Limits,
    x_title: str,
    description: str,
    is_log: bool = False,
    x_ticks: Sequence[str] = (),
) -> Markup:
    """Curves, those of the reference in grey; ``x_ticks`` are names of the points 0, 1, ..."""
    figure, axes = new_axes()
    if is_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(tick)
    axes.set(ylim=y_limits, xlabel=x_title)
    for line in found:
        axes.plot(
            line.curve.index,
            line.curve,
            color=GREY if line.is_reference else BLUE,
            linestyle=(0, (4, 3)) if line.is_dashed else "-",
            linewidth=1 if line.is_further else 1.5 if line.is_dashed else 2,
            alpha=0.7 if line.is_further else 1,
            marker="o" if x_ticks or len(line.curve) == 1 else None,
            markersize=7,
        )
    axes.set_xlim(0)
    if x_ticks:
        axes.set_xlim(-0.5, len(x_ticks) - 0.5)
        axes.set_xticks(range(len(x_ticks)), x_ticks)
    _label_ends(axes, [line for line in found if line.end])
    return to_svg(figure, description)


@rc_context(STYLE)
def costs(found: DataFrame, x_title: str, description: str) -> Markup:
    """Score against cost with the front that none beats; names stand in a column on the right.

    Args:
        found: columns ``name``, ``cost``, ``score`` and ``is_reference``.
        x_title: the cost and its unit.
        description: for those who cannot see it.
    """
    height = max(HEIGHT, _LINE * len(found) + TOP + BOTTOM)
    figure, axes = new_axes(height, (LEFT, 120, TOP, BOTTOM))
    axes.set(xlim=limits([0, *found["cost"]], 1e-3), ylim=limits(found["score"], 2))
    axes.set_xlabel(x_title)
    axes.step("cost", "score", data=front(found), where="post", color=GREY, **_DASHED)
    heights = [_pixel(axes, one.cost, one.score) for one in found.itertuples()]
    placed = spread(heights, _LINE, BOTTOM, height - TOP)
    for one, label_height in zip(found.itertuples(), placed, strict=True):
        axes.annotate(
            shorten(one.name),
            (one.cost, one.score),
            (WIDTH - 112, label_height),
            textcoords="figure points",
            va="center",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 1},
        )
        axes.plot(one.cost, one.score, "o", color=GREY if one.is_reference else BLUE)
    return to_svg(figure, description)


def shorten(text: str, longest: int = _LONGEST) -> str:
    """The text, its end left out where it is longer than a figure has room for."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _label_ends(axes: Axes, found: Sequence[Line]) -> None:
    """Write beside the last points; a reference that ends before the others has no room there."""
    last = max((one.curve.index[-1] for one in found), default=0)
    found = [one for one in found if not one.is_reference or one.curve.index[-1] > 0.95 * last]
    ends = [(line.curve.index[-1], line.curve.iloc[-1]) for line in found]
    heights = [_pixel(axes, *end) for end in ends]
    placed = spread(heights, _LINE, BOTTOM, HEIGHT - TOP)
    for line, end, before, after in zip(found, ends, heights, placed, strict=True):
        weight = "normal" if line.is_reference else "bold"
        colour = QUIET if line.is_reference else BLUE
        _label(axes, line.end, end, (7, after - before), color=colour, weight=weight)


def _label(axes: Axes, text: str, at: tuple[float, float], offset: Limits, **style: Any) -> None:
    axes.annotate(text, at, offset, textcoords="offset points", va="center", **style)


def _pixel(axes: Axes, x: float, y: float) -> float:
    """Height of a point above the lower edge of the figure."""
    return float(axes.transData.transform((x, y))[1])
