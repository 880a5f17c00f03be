"""Every figure of the report: a matplotlib drawing as SVG that an HTML page takes in.

A figure is drawn for the width of a phone and grows with its column, so its text stays readable.
Its colours become variables of the page's style sheet, so that it follows the reader's dark mode.
All functions return an ``<svg>`` element with the given description as its title, which browsers
show on hover and screen readers say.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

PAGE, TEXT, QUIET, GRID = "#fffffe", "#1b1f27", "#5b6472", "#e8ebef"
GREY, BLUE, ORANGE = "#808894", "#0067a8", "#bb4400"
_VARIABLES = {
    PAGE: "page", TEXT: "text", QUIET: "quiet", GRID: "grid", GREY: "grey", BLUE: "blue",
    ORANGE: "orange",
}  # fmt: skip
"""Names in the style sheet of the page."""
VERDICTS = {"better": BLUE, "worse": ORANGE}
"""Colour of a difference; grey where nothing is known."""

WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 36, 44, 10, 36
"""All in points, which are CSS pixels on a phone; margins hold ticks, labels and axis titles."""
_LINE, _ROW = 13, 58  # heights of a line of text and of a row of the forest
_LONGEST = 18  # characters of a label within a figure
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": TEXT,
    "font.size": 11,
    "axes.labelsize": 10.5,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": GREY,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.size": 0,
    "xtick.major.pad": 5,
    "axes.xmargin": 0,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
    "lines.markeredgecolor": PAGE,
    "lines.markeredgewidth": 1.5,
    "lines.markersize": 9,
}

_DASHED = {"linestyle": (0, (3, 3)), "linewidth": 1}

Limits = tuple[float, float]


class Chart(NamedTuple):
    """A figure of the page."""

    title: str
    drawing: Markup
    note: str = ""


class Interval(NamedTuple):
    """A difference of a forest plot."""

    name: str
    note: str
    text: str
    verdict: str
    """One of :data:`VERDICTS`, or another word for what is not known."""
    verdict_text: str
    estimate: float
    bounds: Limits | None


class Level(NamedTuple):
    """A level of a factor."""

    name: str
    score: float
    seeds: Sequence[float]
    bounds: Limits | None = None
    """Of the difference to the reference, as scores."""
    verdict: str = ""
    """Of that difference; empty for the reference itself."""


class Line(NamedTuple):
    """A curve, indexed by its horizontal axis."""

    curve: pd.Series
    is_reference: bool = False
    is_dashed: bool = False
    is_further: bool = False
    """A further seed: thin."""
    end: str = ""
    """Label at its last point."""


class Spent(NamedTuple):
    """What an experiment cost and scored."""

    name: str
    cost: float
    score: float
    is_reference: bool


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


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, score) that no other beats: as cheap or cheaper and as good or better."""
    best, kept = -np.inf, []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if score > best:
            kept.append((cost, score))
            best = score
    return kept


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """``positions`` moved to be ``gap`` apart in their order and, if they fit, in [low, high]."""
    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(len(order))
    placed = np.maximum.accumulate(np.maximum(np.take(positions, order) - steps, low))
    placed = np.minimum(placed, high - gap * (len(order) - 1)) + steps
    return placed[np.argsort(order)].tolist()


@rc_context(_STYLE)
def forest(intervals: Sequence[Interval], description: str) -> Markup:
    """Each difference with its interval, below its name and its value, on one axis through 0."""
    figure, axes = _axes(_ROW * len(intervals) + 24, (2, 2, 4, 20))
    ends = (end for one in intervals for end in (one.estimate, *(one.bounds or ())))
    axes.set(xlim=limits([0, *ends], 2), ylim=(len(intervals), 0), yticks=[])
    for top, one in enumerate(intervals):
        colour, middle = VERDICTS.get(one.verdict, GREY), top + 0.75
        axes.axhline(top, color=GRID, linewidth=0.8)
        axes.plot([0, 0], [middle - 0.13, middle + 0.13], color=GREY, **_DASHED)
        if one.bounds:
            axes.plot(one.bounds, [middle, middle], color=colour, linewidth=3)
        axes.plot(one.estimate, middle, "o", color=colour)
        place = {"transform": axes.get_yaxis_transform()}
        first, second = top + 1.2 * _LINE / _ROW, top + 2.3 * _LINE / _ROW
        axes.text(0, first, one.name, weight="bold", **place)
        axes.text(0, second, one.note, color=QUIET, size=10, **place)
        axes.text(1, first, one.text, ha="right", **place)
        axes.text(1, second, one.verdict_text, color=colour, size=10, ha="right", **place)
    return _svg(figure, description)


@rc_context(_STYLE)
def levels(found: Sequence[Level], y_limits: Limits, x_title: str, description: str) -> Markup:
    """The score at each level with its interval; the dashed line is the reference."""
    figure, axes = _axes()
    axes.set(xlim=(-0.5, len(found) - 0.5), ylim=y_limits, xlabel=x_title)
    axes.set_xticks(range(len(found)), [shorten(level.name, 56 // len(found)) for level in found])
    for level in found:
        if not level.verdict:
            axes.axhline(level.score, color=GREY, **_DASHED)
    for place, level in enumerate(found):
        colour = VERDICTS.get(level.verdict, GREY)
        if level.bounds:
            axes.plot([place, place], level.bounds, color=colour, linewidth=3)
        if len(level.seeds) > 1:
            rings = {"markersize": 6, "markeredgecolor": GREY, "markeredgewidth": 1}
            beside = [place - 0.06 * len(found) / 2] * len(level.seeds)
            axes.plot(beside, level.seeds, "o", color="none", **rings)
        axes.plot(place, level.score, "o", color=colour)
        above = 0 if level.verdict else 9  # off the dashed line
        text_colour = TEXT if level.verdict else QUIET
        _label(axes, f"{level.score:.1f}", (place, level.score), (8, above), color=text_colour)
    return _svg(figure, description)


@rc_context(_STYLE)
def lines(
    found: Sequence[Line],
    y_limits: Limits,
    x_title: str,
    description: str,
    is_log: bool = False,
    x_ticks: Sequence[str] = (),
) -> Markup:
    """Curves, those of the reference in grey; ``x_ticks`` are names of the points 0, 1, ..."""
    figure, axes = _axes()
    if is_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(_number))
    axes.set(ylim=y_limits, xlabel=x_title)
    for line in found:
        axes.plot(
            line.curve.index,
            line.curve,
            color=GREY if line.is_reference else BLUE,
            linestyle=(0, (4, 3)) if line.is_dashed else "-",
            linewidth=1 if line.is_further else 1.5 if line.is_dashed else 2,
            alpha=0.7 if line.is_further else 1,
            marker="o" if x_ticks else None,
            markersize=7,
        )
    axes.set_xlim(0)
    if x_ticks:
        axes.set_xlim(-0.5, len(x_ticks) - 0.5)
        axes.set_xticks(range(len(x_ticks)), x_ticks)
    _label_ends(axes, [line for line in found if line.end])
    return _svg(figure, description)


@rc_context(_STYLE)
def costs(found: Sequence[Spent], y_limits: Limits, x_title: str, description: str) -> Markup:
    """Score against cost with the front that none beats; names stand in a column on the right."""
    height = max(HEIGHT, _LINE * len(found) + TOP + BOTTOM)
    figure, axes = _axes(height, (LEFT, 120, TOP, BOTTOM))
    axes.set(xlim=limits([0, *(one.cost for one in found)], 1e-3), ylim=y_limits, xlabel=x_title)
    best = front((one.cost, one.score) for one in found)
    axes.step(*zip(*best, strict=True), where="post", color=GREY, **_DASHED)
    heights = [_pixel(axes, one.cost, one.score) for one in found]
    placed = spread(heights, _LINE, BOTTOM, height - TOP)
    for one, label_height in zip(found, placed, strict=True):
        axes.annotate(
            shorten(one.name),
            (one.cost, one.score),
            (WIDTH - 112, label_height),
            textcoords="figure points",
            va="center",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 1},
        )
        axes.plot(one.cost, one.score, "o", color=GREY if one.is_reference else BLUE)
    return _svg(figure, description)


def shorten(text: str, longest: int = _LONGEST) -> str:
    """The text, its end left out where it is longer than a figure has room for."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _axes(
    height: float = HEIGHT, margins: Sequence[float] = (LEFT, RIGHT, TOP, BOTTOM)
) -> tuple[Figure, Axes]:
    """A figure of the usual width and its axes, with margins (left, right, top, bottom)."""
    left, right, top, bottom = margins
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor="none")
    size = (1 - (left + right) / WIDTH, 1 - (top + bottom) / height)
    axes = figure.add_axes((left / WIDTH, bottom / height, *size), facecolor="none")
    _set_ticks(axes.xaxis)
    _set_ticks(axes.yaxis)
    return figure, axes


def _set_ticks(axis: Axis) -> None:
    """About four round values."""
    axis.set_major_locator(MaxNLocator(4, steps=(1, 2, 2.5, 5, 10)))
    axis.set_major_formatter(FuncFormatter(_number))


def _label_ends(axes: Axes, found: Sequence[Line]) -> None:
    """Write beside the last points; a reference that ends before the others has no room there."""
    last = max(one.curve.index[-1] for one in found)
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


def _number(value: float, _position: int | None = None) -> str:
    """A tick, as ``0.001``, ``50`` or ``20k``."""
    return f"{value / 1000:,.6g}k" if abs(value) >= 10_000 else f"{value:.6g}"


def _svg(figure: Figure, description: str) -> Markup:
    """The drawing without fixed size, metadata and ids of its groups.

    Other ids depend on the description, so they do not clash with those of other figures and are
    the same for the same data.
    """
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": description}):
        figure.savefig(buffer, format="svg")
    drawing = buffer.getvalue().partition("</defs>")[2]  # the first ones hold a style sheet
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    for colour, name in _VARIABLES.items():
        drawing = drawing.replace(colour, f"var(--{name})")
    width, height = (72 * inches for inches in figure.get_size_inches())
    title = f"<title>{escape(description)}</title>"
    return Markup(f'<svg viewBox="0 0 {width:g} {height:g}" role="img">{title}{drawing}')
