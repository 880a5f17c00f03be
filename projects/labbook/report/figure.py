"""A matplotlib figure as SVG for an HTML page.

A figure is drawn for the width of a phone and grows with its column, so its text stays readable.
Its colours become variables of the page's style sheet, so that it follows the reader's dark mode.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

PAGE, TEXT, QUIET, GRID = "#fffffe", "#1b1f27", "#5b6472", "#e8ebef"
GREY, BLUE, ORANGE = "#808894", "#0067a8", "#bb4400"
VARIABLES = {
    PAGE: "page", TEXT: "text", QUIET: "quiet", GRID: "grid", GREY: "grey", BLUE: "blue",
    ORANGE: "orange",
}  # fmt: skip
"""Names in the style sheet of the page."""
WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 36, 44, 10, 36
"""All in points, which are CSS pixels on a phone; margins hold ticks, labels and axis titles."""
STYLE: dict[Any, Any] = {
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
"""For :func:`matplotlib.rc_context`, around all that draws."""


def new_axes(
    height: float = HEIGHT, margins: Sequence[float] = (LEFT, RIGHT, TOP, BOTTOM)
) -> tuple[Figure, Axes]:
    """A figure of the usual width and its axes, with margins (left, right, top, bottom)."""
    left, right, top, bottom = margins
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor="none")
    size = (1 - (left + right) / WIDTH, 1 - (top + bottom) / height)
    axes = figure.add_axes((left / WIDTH, bottom / height, *size), facecolor="none")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
        axis.set_major_formatter(FuncFormatter(tick))
    return figure, axes


def tick(value: float, _position: float | None = None) -> str:
    """The text of a tick, as ``0.001``, ``50`` or ``20k``."""
    return f"{value / 1000:,.6g}k" if abs(value) >= 10_000 else f"{value:.6g}"


def to_svg(figure: Figure, description: str) -> Markup:
    """The drawing as an ``<svg>`` element of no fixed size, titled with its description.

    Browsers show the title on hover, and screen readers say it. Ids depend on the description, so
    they do not clash with those of other figures, and are the same for the same data.
    """
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": description}):
        figure.savefig(buffer, format="svg")
    drawing = buffer.getvalue().partition("</defs>")[2]  # the first ones hold a style sheet
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    for colour, name in VARIABLES.items():
        drawing = drawing.replace(colour, f"var(--{name})")
    width, height = (72 * inches for inches in figure.get_size_inches())
    title = f"<title>{escape(description)}</title>"
    return Markup(f'<svg viewBox="0 0 {width:g} {height:g}" role="img">{title}{drawing}')
