"""Small charts as inline SVG, styled by the page's style sheet: no script, no picture file.

A chart is drawn for the width of a phone and grows with its column, so its text stays readable.
Marks carry ``<title>`` elements, which browsers show on hover.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from labbook.report.elements import join, tag

WIDTH, HEIGHT = 340, 210  # of the view box
LEFT, RIGHT, TOP, BOTTOM = 40, 54, 12, 36  # margins: tick labels, direct labels, axis titles
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Maps values in [low, high] to pixels in [start, end]; ``log`` needs positive values."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, 1e-300))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About ``count`` round values within the axis."""
        if not self.log:
            return round_ticks(self.low, self.high, count)
        decades = [
            10.0**power
            for power in range(
                math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1
            )
        ]
        fine = [decade * factor for decade in decades for factor in (1, 2, 5)]
        for values in (fine, decades):
            inside = [value for value in values if self.low <= value <= self.high]
            if 2 <= len(inside) <= count + 2:
                return inside
        return round_ticks(self.low, self.high, count)


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` multiples of 1, 2, 2.5 or 5 times a power of ten within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in _STEPS if s * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]


def padded(values: Iterable[float], share: float = 0.08, least: float = 1.0) -> tuple[float, float]:
    """Limits around ``values`` with a margin, at least ``least`` wide; (0, least) without any.

    Of values that are not negative, neither are the limits.
    """
    known = [v for v in values if math.isfinite(v)]
    if not known:
        return 0.0, least
    low, high = min(known), max(known)
    margin = max(share * (high - low), (least - (high - low)) / 2, 0.0)
    start = max(low - margin, 0.0) if low >= 0 else low - margin
    return start, max(high + margin, start + least)


def x_axis(low: float, high: float, log: bool = False) -> Axis:
    """The horizontal axis of a chart of the usual size."""
    return Axis(low, high, LEFT, WIDTH - RIGHT, log)


def y_axis(low: float, high: float, log: bool = False) -> Axis:
    """The vertical axis of a chart of the usual size."""
    return Axis(low, high, HEIGHT - BOTTOM, TOP, log)


def number(value: float) -> str:
    """A tick's text, as ``0.001``, ``50`` or ``20k``."""
    if abs(value) >= 10_000:
        return f"{value / 1000:,.6g}k"
    return f"{value:.6g}"


def grid(y: Axis, count: int = 5) -> Markup:
    """Light horizontal lines with their values."""
    return join(
        tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y(v), y2=y(v))
        + tag("text", number(v), class_="tick", x=LEFT - 6, y=y(v) + 3.5, text_anchor="end")
        for v in y.ticks(count)
    )


def x_ticks(x: Axis, ticks: Sequence[tuple[float, str]], title: str) -> Markup:
    """Values below the chart, and what they are."""
    bottom = HEIGHT - BOTTOM
    base = tag("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom)
    texts = [
        tag("text", text, class_="tick", x=x(v), y=bottom + 14, text_anchor="middle")
        for v, text in ticks
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    name = tag("text", title, class_="axis-title", x=middle, y=HEIGHT - 5, text_anchor="middle")
    return base + join(texts) + name


def line(points: Sequence[Point], x: Axis, y: Axis, kind: str, title: str = "") -> Markup:
    """A line through ``points``; ``kind`` is its class in the style sheet."""
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    return tag("polyline", tag("title", title) if title else "", class_=f"line {kind}", points=path)


def dot(x: float, y: float, kind: str, title: str = "", radius: float = 4) -> Markup:
    """A point at pixels (x, y)."""
    content = tag("title", title) if title else ""
    return tag("circle", content, class_=f"dot {kind}", cx=x, cy=y, r=radius)


def label(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> Markup:
    """Text at pixels (x, y), with a halo in the page's colour so that lines do not cross it."""
    return tag("text", text, class_=f"label {kind}".rstrip(), x=x, y=y, text_anchor=anchor)


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """``positions`` moved as little as needed to be ``gap`` apart and within [low, high]."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed = list(positions)
    for before, i in zip([None, *order], order, strict=False):
        floor = low if before is None else placed[before] + gap
        placed[i] = max(positions[i], floor)
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed


def chart(title: str, content: Markup, description: str, note: str = "") -> Markup:
    """A figure with its title; ``description`` is what a screen reader says of the drawing."""
    drawing = tag(
        "svg",
        content,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=description,
    )
    caption = tag("figcaption", tag("strong", title) + (tag("span", note) if note else ""))
    return tag("figure", caption + drawing, class_="chart")
