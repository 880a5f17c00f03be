"""Pictures of curves: measured points and the fitted power law on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from benchmarks.growth.curves import Curve
from benchmarks.growth.fit import Line, fitted, short

BLUE, ORANGE, GREY = "#0067a8", "#bb4400", "#808894"  # those of the report
STYLES = {"compiled": (BLUE, "o"), "chunked": (ORANGE, "s"), "reference": (GREY, "^")}
LONE = (BLUE, "o")  # of a curve with one line


def draw(curve: Curve, lines: Mapping[str, Line], path: Path) -> None:
    """Write a PNG of ``lines``; the fit is solid where it was fitted and dashed below.

    Raises:
        ValueError: a line that cannot be fitted.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, line in lines.items():
        colour, marker = STYLES.get(name, LONE)
        fit = fitted(line)
        label = f"{name}: exponent {fit.exponent:.2f} ± {fit.spread:.2f}"
        axes.plot(line.sizes, line.medians_ms, marker, color=colour, label=label)
        parts = {"--": (line.sizes[0], fit.start), "-": (fit.start, line.sizes[-1])}
        for style, ends in parts.items():
            axes.plot(ends, [fit.at(size) for size in ends], style, color=colour, linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlabel=curve.axis, ylabel="time of a call, ms")
    axes.set_title(curve.title, loc="left")
    ticks = sorted({size for line in lines.values() for size in line.sizes})
    axes.set_xticks(ticks, [short(size) for size in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="#e8ebef")
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
