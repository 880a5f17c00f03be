"""Learning curves: each experiment beside the one that it changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from labbook.report import svg
from labbook.report.elements import Section, join, panels, paragraph, tag
from labbook.report.evidence import Evidence, reference
from labbook.report.svg import Axis, Point
from labbook.results.cells import STATUS_TEXT
from labbook.results.comparison import Row
from runfolder.run import Run

TRAINING, VALIDATION = "total_loss", "validation/total_loss"
_MOST_POINTS = 120
"""Of a line; more cannot be seen on a chart of this size."""


class Curve(NamedTuple):
    """A number of one run over its training."""

    points: Sequence[Point]
    kind: str
    title: str


def section(evidence: Evidence) -> Section:
    """AP on valid, then losses, in a panel for each experiment."""
    title = evidence.title(evidence.results.metric)
    lead = (
        f"{title} on valid, and below it the losses, as training went on. Blue: the experiment; "
        "grey: the one that it changes. Thin lines are further seeds. Dashed: the loss on valid; "
        "where it rises while the training loss falls, the model overfits."
    )
    keys = [evidence.results.metric, TRAINING, VALIDATION]
    known = {run.folder: _read(run, keys) for row in evidence.rows for run in row.runs}
    scores = _score_panels(evidence, known)
    losses = _loss_panels(evidence, known)
    if not scores and not losses:
        return Section("curves", "Learning curves", lead, paragraph("No run has written metrics."))
    content = tag("h3", f"{title} on valid") + panels(scores) + tag("h3", "Loss") + panels(losses)
    return Section("curves", "Learning curves", lead, content)


def thin_out(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """Means of neighbouring points, so that at most ``most`` are left."""
    size = math.ceil(len(points) / most)
    if size <= 1:
        return list(points)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


Known = Mapping[Path, Mapping[str, Sequence[Point]]]  # by run folder, then by key


def _read(run: Run, keys: Sequence[str]) -> dict[str, list[Point]]:
    """Points (epoch, or step, and value) of each number in ``metrics.json``."""
    train = run.config.get("train") or {}
    per_epoch = train.get("iterations_per_epoch") if train.get("epochs") else 1
    found: dict[str, list[Point]] = {key: [] for key in keys}
    for entry in run.metrics():
        step = entry.get("iteration")
        for key in keys:
            value = entry.get(key)
            if isinstance(step, int) and isinstance(value, int | float) and math.isfinite(value):
                found[key].append(((step + 1) / (per_epoch or 1), float(value)))
    return {key: thin_out(points) for key, points in found.items()}


def _score_panels(evidence: Evidence, known: Known) -> list[Markup]:
    key = evidence.results.metric
    values = [value for curves in known.values() for _, value in curves[key]]
    y = svg.y_axis(*svg.padded([*values, 0.0]))
    return [
        _panel(evidence, row, against, _curves(row, against, known, {key: ""}), y)
        for row, against in _pairs(evidence)
        if any(known[run.folder][key] for run in row.runs)
    ]


def _loss_panels(evidence: Evidence, known: Known) -> list[Markup]:
    keys = {TRAINING: "", VALIDATION: "dashed"}
    values = [v for curves in known.values() for key in keys for _, v in curves[key] if v > 0]
    if not values:
        return []
    y = svg.y_axis(min(values) / 1.1, max(values) * 1.1, log=True)
    return [
        _panel(evidence, row, against, _curves(row, against, known, keys), y)
        for row, against in _pairs(evidence)
        if any(known[run.folder][TRAINING] for run in row.runs)
    ]


def _pairs(evidence: Evidence) -> list[tuple[Row, Row | None]]:
    return [(entry.row, reference(entry)) for entry in evidence.entries]


def _curves(row: Row, against: Row | None, known: Known, keys: Mapping[str, str]) -> list[Curve]:
    """The lines of a panel, those in front last; ``keys`` names further classes of each."""
    curves = []
    for owner, kind in ((against, "reference"), (row, "candidate")):
        for number, run in enumerate(owner.runs if owner else ()):
            for key, extra in keys.items():
                points = known[run.folder][key]
                if points:
                    words = [kind, extra, "further" if number else ""]
                    title = f"{run.folder.name}: {key}, at the end {points[-1][1]:.4g}"
                    curves.append(Curve(points, " ".join(filter(None, words)), title))
    return curves


def _panel(
    evidence: Evidence, row: Row, against: Row | None, curves: Sequence[Curve], y: Axis
) -> Markup:
    last = max(x for curve in curves for x, _ in curve.points)
    x = svg.x_axis(0, last)
    lines = [svg.line(curve.points, x, y, curve.kind, curve.title) for curve in curves]
    firsts = [c for c in curves if c.kind == "candidate" or _reaches_end(c, last)]
    heights = svg.spread([y(c.points[-1][1]) for c in firsts], 13, svg.TOP, y.start)
    texts = [
        svg.label(x(c.points[-1][0]) + 5, height + 4, f"{c.points[-1][1]:.3g}", c.kind)
        for c, height in zip(firsts, heights, strict=True)
    ]
    ticks = [(value, svg.number(value)) for value in x.ticks(4)]
    drawing = svg.grid(y) + svg.x_ticks(x, ticks, "step" if row.counts_steps else "epoch")
    words = [f"{curve.title}" for curve in firsts]
    return svg.chart(
        evidence.label(row), drawing + join(lines + texts), ", ".join(words), _note(row)
    )


def _reaches_end(curve: Curve, last: float) -> bool:
    """Whether there is room for the end of this line to be labelled beside the chart."""
    return curve.kind == "reference" and curve.points[-1][0] > 0.95 * last


def _note(row: Row) -> str:
    unfinished = [STATUS_TEXT[run.status] for run in row.runs if not run.is_finished]
    return ", ".join(dict.fromkeys(unfinished))
