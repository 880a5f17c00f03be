"""The page about growth: prose written by hand, and numbers filled in between markers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.growth.curves import CURVES, Curve
from benchmarks.growth.fit import Line, fitted, in_words, short
from benchmarks.growth.plots import draw
from benchmarks.growth.records import Results

PAGE = "growth.md"
HEADINGS = ("curve", "line", "from, to", "ms", "exponent", "fitted from", "that is")
WIDTHS = ("---", "---", "---", "---", "---:", "---:", "---")


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
