"""The errors of all runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from markupsafe import Markup

from labbook.report import svg
from labbook.report.elements import Cell, Section, details, join, panels, paragraph, table, tag
from labbook.report.errors import ERROR_TYPES, IOU, MIN_SCORE, Analysis
from labbook.report.evidence import Evidence, reference
from labbook.results.comparison import Row

Analyses = Mapping[str, Analysis]  # by name of the run folder


def section(evidence: Evidence) -> Section:
    """Error types, recall, false alarms and confusion."""
    found, name = evidence.errors, evidence.errors_file.name
    lead = (
        f"What goes wrong on {evidence.split}. The cost of a type of error is the AP at IoU {IOU} "
        "that a run would gain if only that were put right (Bolya et al., TIDE, 2020); costs do "
        "not add up. Where answers are counted, predictions with a confidence of at least "
        f"{MIN_SCORE} are."
    )
    if not found:
        missing = f"No finished run has evaluation/{evidence.split}/matches.npz."
        return Section("errors", "Errors", lead, paragraph(missing))
    rows = [row for row in evidence.rows if _of(row, found)]
    parts = [
        tag("h3", "Cost of each type of error"),
        _cost_tables(evidence, rows, found),
        tag("h3", "Recall against size"),
        panels(
            _recall_chart(evidence, row, against, found) for row, against in _pairs(evidence, found)
        ),
        tag("h3", "False alarms on empty images"),
        _alarm_table(evidence, rows, found),
        tag("h3", "Confusion of classes"),
        _confusions(evidence, rows, found),
        paragraph(
            tag("a", name, href=name) + " holds all these numbers, and those of single seeds."
        ),
    ]
    return Section("errors", "Errors", lead, join(parts))


def _of(row: Row, found: Analyses) -> list[Analysis]:
    """The analyses of the seeds of an experiment."""
    return [found[run.folder.name] for run in row.finished if run.folder.name in found]


def _cost_tables(evidence: Evidence, rows: Sequence[Row], found: Analyses) -> Markup:
    """A table over all sizes, and one for each size behind a click."""
    sizes = list(dict.fromkeys(name for one in found.values() for name in one["sizes"]))
    tables = {size: _cost_table(evidence, rows, found, size) for size in sizes}
    first, *others = tables.values()
    return first + join(
        details(f"Only {size} objects", content)
        for size, content in zip(sizes[1:], others, strict=True)
    )


def _cost_table(evidence: Evidence, rows: Sequence[Row], found: Analyses, size: str) -> Markup:
    highest = max(
        (_mean(_costs(row, found, size, name)) or 0.0 for row in rows for name in ERROR_TYPES),
        default=0.0,
    )
    which = "all sizes" if size == "all" else _limits(found, size)
    return table(
        f"Points of AP at IoU {IOU} that each type of error costs, {which}; the darker, the more",
        ["Experiment", "AP", *(name.capitalize() for name in ERROR_TYPES)],
        [
            [
                _name(evidence, row),
                Cell(_number(_mean([one["sizes"][size]["ap"] for one in _of(row, found)]))),
                *(_cost_cell(row, found, size, name, highest) for name in ERROR_TYPES),
            ]
            for row in rows
        ],
    )


def _cost_cell(row: Row, found: Analyses, size: str, name: str, highest: float) -> Cell:
    cost = _mean(_costs(row, found, size, name))
    count = fmean(one["sizes"][size]["errors"][name]["count"] for one in _of(row, found))
    shade = cost / highest if cost and highest else 0.0
    return Cell(_number(cost), shade=shade, hint=f"{count:.0f} times")


def _costs(row: Row, found: Analyses, size: str, name: str) -> list[float | None]:
    return [one["sizes"][size]["errors"][name]["cost"] for one in _of(row, found)]


def _limits(found: Analyses, size: str) -> str:
    """The size in words, as ``small objects (0 to 1,024 square pixels)``."""
    low, high = next(iter(found.values()))["sizes"][size]["area_range"]
    span = f"from {low:,.0f}" if high >= 1e9 else f"{low:,.0f} to {high:,.0f}"
    return f"{size} objects ({span} square pixels)"


def _pairs(evidence: Evidence, found: Analyses) -> list[tuple[Row, Row | None]]:
    return [(entry.row, reference(entry)) for entry in evidence.entries if _of(entry.row, found)]


def _recall_chart(evidence: Evidence, row: Row, against: Row | None, found: Analyses) -> Markup:
    """Share of the objects that are found, for each size, beside the changed experiment."""
    bins = _of(row, found)[0]["recall_by_size"]
    x, y = svg.x_axis(-0.5, len(bins) - 0.5), svg.y_axis(0, 100)
    marks, words, ends = [svg.grid(y, 4)], [], []
    for owner, kind in ((against, "reference"), (row, "candidate")):
        values = _recalls(owner, found) if owner else {}
        if not owner or not values:
            continue
        points = [(float(place), value) for place, value in values.items()]
        marks.append(svg.line(points, x, y, kind))
        for place, value in points:
            one = bins[int(place)]
            hint = f"{evidence.label(owner)}, {_bin(one)} px: {value:.1f} % of {one['count']}"
            marks.append(svg.dot(x(place), y(value), kind, hint, 3.5))
        ends.append((x(points[-1][0]) + 7, y(points[-1][1]), f"{points[-1][1]:.0f} %", kind))
        steps = ", ".join(f"{_bin(bins[int(p)])} px {v:.0f} %" for p, v in points)
        words.append(f"{evidence.label(owner)}: {steps}")
    heights = svg.spread([height for _, height, _, _ in ends], 13, svg.TOP, y.start)
    for (at, _, text, kind), height in zip(ends, heights, strict=True):
        marks.append(svg.label(at, height + 4, text, kind))
    ticks = [(float(place), _bin(one)) for place, one in enumerate(bins)]
    marks.append(svg.x_ticks(x, ticks, "square root of the area, px"))
    return svg.chart(evidence.label(row), join(marks), "Recall. " + "; ".join(words))


def _recalls(row: Row, found: Analyses) -> dict[int, float]:
    """Mean recall over seeds by place of the bin; bins without objects are left out."""
    by_seed = [[bin["recall"] for bin in one["recall_by_size"]] for one in _of(row, found)]
    by_place = zip(*by_seed, strict=True)
    means = {place: _mean(list(values)) for place, values in enumerate(by_place)}
    return {place: mean for place, mean in means.items() if mean is not None}


def _bin(one: Mapping[str, Any]) -> str:
    if one["high"] is None:
        return f"≥{one['low']:g}"
    return f"{one['low']:g}–{one['high']:g}"


def _alarm_table(evidence: Evidence, rows: Sequence[Row], found: Analyses) -> Markup:
    first = _of(rows[0], found)[0]["false_alarms"]
    if not first["empty_images"]:
        return paragraph(f"No image of {evidence.split} is without objects.")
    keys = ("alarms", "images_with_alarms", "per_image")
    return table(
        f"Predictions with a confidence of at least {MIN_SCORE} on images without objects "
        f"(there are {first['empty_images']:,}); means over seeds",
        ["Experiment", "False alarms", "Images with any", "For each empty image"],
        [
            [
                _name(evidence, row),
                *(
                    _number(_mean([one["false_alarms"][key] for one in _of(row, found)]), form)
                    for key, form in zip(keys, ("{:.0f}", "{:.0f}", "{:.2f}"), strict=True)
                ),
            ]
            for row in rows
        ],
    )


def _confusions(evidence: Evidence, rows: Sequence[Row], found: Analyses) -> Markup:
    """The matrix of the first experiment, and the others behind a click."""
    lead = "Rows: the true class; columns: the predicted one; colour: share of the row."
    first, *others = [_confusion(evidence, row, found) for row in rows]
    if others:
        rest = tag("div", join(others), class_="beside")
        first += details(f"The other {len(others)}", rest)
    return paragraph(lead, "quiet") + first


def _confusion(evidence: Evidence, row: Row, found: Analyses) -> Markup:
    """The matrix of the first seed."""
    analysis = _of(row, found)[0]
    classes = analysis["classes"]
    body = []
    for name, line in zip([*classes, _ALARM], analysis["confusion"], strict=True):
        shades = [n / max(sum(line), 1) for n in line]
        cells = [Cell(f"{n:,}", shade=shade) for n, shade in zip(line, shades, strict=True)]
        body.append([name, *(cells if name != _ALARM else [*cells[:-1], ""])])
    seed = f", seed {analysis['seed']}" if len(row.finished) > 1 else ""
    return table(evidence.label(row) + seed, ["", *classes, "missed"], body, kind="matrix")


_ALARM = "false alarm"


def _name(evidence: Evidence, row: Row) -> Cell:
    return Cell(evidence.label(row), hint=row.title)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _number(value: float | None, form: str = "{:.1f}") -> str:
    return "-" if value is None else form.format(value)
