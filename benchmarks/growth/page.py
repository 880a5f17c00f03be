"""The page about growth: prose written by hand, numbers filled in between markers, pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from benchmarks.growth.curves import CURVES, Curve
from benchmarks.growth.fit import Line, Results, fitted, in_words, short

PAGE = "growth.md"
HEADINGS = ("curve", "line", "from, to", "ms", "exponent", "fitted from", "that is")
WIDTHS = ("---", "---", "---", "---", "---:", "---:", "---")
BLUE, ORANGE, GREY = "#0067a8", "#bb4400", "#808894"  # those of the report
STYLES = {"compiled": (BLUE, "o"), "chunked": (ORANGE, "s"), "reference": (GREY, "^")}
LONE = (BLUE, "o")  # of a curve with one line


def write_page(folder: Path, machine: Mapping[str, Any], results: Results) -> None:
    """Draw all curves into ``folder``/images and fill the numbers into ``folder``/growth.md.

    Raises:
        ValueError: a curve was not measured, or the page lacks a marker.
        OSError: there is no such page.
    """
    if missing := [name for name in CURVES if name not in results]:
        raise ValueError(f"The page needs all curves; not measured yet: {', '.join(missing)}.")
    page = folder / PAGE
    text = page.read_text(encoding="utf-8")
    parts = {"machine": on(machine), "table": table(results), "patch": patch(results)}
    for name, content in parts.items():
        text = filled(text, name, content)
    for name, curve in CURVES.items():
        draw(curve, results[name], folder / "images" / f"growth_{name}.png")
    page.write_text(text, encoding="utf-8")


def filled(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between the markers ``measured: name`` and ``end``."""
    pattern = rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)"
    result, count = re.subn(pattern, lambda m: f"{m[1]}{content}\n{m[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(
            f"{PAGE} has {count} places marked <!-- measured: {name} --> ... <!-- end -->; it "
            "needs exactly one."
        )
    return result


def on(machine: Mapping[str, Any]) -> str:
    """What it was measured on, as a sentence."""
    threads = machine["threads"]
    return (
        f"Measured on {machine['cpu']}, {threads} thread{'s' if threads > 1 else ''}, "
        f"torch {machine['torch']}."
    )


def table(results: Results) -> str:
    """One row a line, in Markdown."""
    rows = [HEADINGS, WIDTHS]
    for name, curve in CURVES.items():
        rows += [row(name, curve, *item) for item in results[name].items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(name: str, curve: Curve, label: str, line: Line) -> tuple[str, ...]:
    fit, times = fitted(line), line.medians_ms
    return (
        f"`{name}`",
        label,
        f"{short(line.sizes[0])} to {short(line.sizes[-1])} ({curve.axis})",
        f"{short(times[0])} to {short(times[-1])}",
        f"{fit.exponent:.2f} ± {fit.spread:.2f}",
        short(fit.start),
        in_words(fit, curve.thing),
    )


def patch(results: Results) -> str:
    """How much more the finest patches cost than the next coarser ones, as a sentence."""
    line = results["rvt_patch"]["RVT-T"]
    (coarse, fine), tokens = line.medians_ms[-2:], line.sizes[-1] / line.sizes[-2]
    return (
        f"Patch 2 takes {fine / coarse:.1f} times the time of patch 4 ({fine:.0f} against "
        f"{coarse:.0f} ms) for {tokens:.0f} times the tokens."
    )


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
