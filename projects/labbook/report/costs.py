"""What accuracy costs: training time and memory against the main score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from labbook.report import svg
from labbook.report.elements import Section, join, panels, paragraph
from labbook.report.evidence import Evidence
from labbook.report.svg import Axis, Point
from labbook.results.cells import duration
from labbook.results.comparison import Row


class Cost(NamedTuple):
    """Something that a run spends."""

    title: str
    key: str
    """In ``results.json``."""
    unit: str
    scale: float
    """Units of the axis in one unit of the key."""
    text: Callable[[float], str]


_LETTER, _LINE = 6, 12  # width and height of text in the units of a chart

COSTS = (
    Cost("Training time", "training_seconds", "h", 1 / 3600, duration),
    Cost("Time of a step", "seconds_per_iteration", "s", 1.0, lambda value: f"{value:.3g} s"),
    Cost("Peak memory", "peak_memory_mb", "GB", 1 / 1024, lambda value: f"{value:,.0f} MB"),
)


def section(evidence: Evidence) -> Section:
    """A chart for each cost."""
    title = evidence.title(evidence.metric)
    lead = (
        f"{title} on {evidence.split} against what it takes. Up and to the left is better; the "
        "dotted line joins the experiments that no other beats in both. Times of runs on different "
        "machines cannot be compared."
    )
    charts = [chart for cost in COSTS if (chart := _chart(evidence, cost))]
    content = panels(charts) or paragraph("No finished run has told its costs.")
    return Section("costs", "Cost against accuracy", lead, content)


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats: as cheap or cheaper and as good or better."""
    best, kept = float("-inf"), []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if y > best:
            kept.append((x, y))
            best = y
    return kept


def _chart(evidence: Evidence, cost: Cost) -> Markup | None:
    rows, points = [], []
    for row in evidence.rows:
        spent, score = row.measure(cost.key).mean, row.score(evidence.split, evidence.metric).mean
        if spent is not None and score is not None:
            rows.append(row)
            points.append((spent * cost.scale, score))
    if not points:
        return None
    spent, scores = zip(*points, strict=True)
    x = svg.x_axis(*svg.padded([0.0, *spent], least=1e-3))
    y = svg.y_axis(*svg.padded(scores, share=0.15, least=2.0))
    marks = [svg.line(_steps(front(points)), x, y, "front")] if len(points) > 1 else []
    baselines = evidence.results.baselines
    for row, point in zip(rows, points, strict=True):
        kind = "reference" if row.title in baselines else "candidate"
        told = cost.text(point[0] / cost.scale)
        hint = f"{row.title}: {point[1]:.1f} for {told}"
        marks.append(svg.dot(x(point[0]), y(point[1]), kind, hint, 4.5))
    marks += _names(evidence, rows, points, x, y)
    ticks = [(value, svg.number(value)) for value in x.ticks(4)]
    drawing = svg.grid(y) + svg.x_ticks(x, ticks, f"{cost.title.lower()}, {cost.unit}")
    words = [
        f"{evidence.label(row)}: {point[1]:.1f} for {cost.text(point[0] / cost.scale)}"
        for row, point in zip(rows, points, strict=True)
    ]
    return svg.chart(cost.title, drawing + join(marks), "; ".join(words))


def _steps(points: Sequence[Point]) -> list[Point]:
    """A staircase through the front: what is reached for at most this cost."""
    path = list(points[:1])
    for (_, before), (x, y) in pairwise(points):
        path += [(x, before), (x, y)]
    return path


def _names(
    evidence: Evidence, rows: Sequence[Row], points: Sequence[Point], x: Axis, y: Axis
) -> list[Markup]:
    """Direct labels, moved down where they would cover one another."""
    labels, taken = [], []
    middle = (x.start + x.end) / 2
    for row, (spent, score) in sorted(zip(rows, points, strict=True), key=lambda pair: -pair[1][1]):
        text, at = evidence.label(row), x(spent)
        length = _LETTER * len(text)
        left = at + 8 if at < middle else at - 8 - length
        height = y(score) + 4
        for low, high, placed in taken:  # from top to bottom
            if low < left + length and left < high and height < placed + _LINE:
                height = placed + _LINE
        taken.append((left, left + length, height))
        start = "start" if at < middle else "end"
        labels.append(svg.label(at + (8 if start == "start" else -8), height, text, anchor=start))
    return labels
