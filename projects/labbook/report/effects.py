"""Main effects: for each single factor, the score at each of its levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from labbook.report import svg
from labbook.report.elements import Section, join, panels, paragraph, tag
from labbook.report.evidence import Evidence, differences, reference
from labbook.report.svg import Axis
from labbook.results.cells import difference_text, summary_text
from labbook.results.comparison import Row
from labbook.results.differences import Difference, Entry

_LONGEST = 14
"""Characters of a level below its place on the axis."""


class Level(NamedTuple):
    """A value of a factor and the experiment that has it."""

    text: str
    row: Row
    found: Difference | None = None
    """To the experiment that is changed; None of that one itself."""


class Effect(NamedTuple):
    """A factor, or a bundle of them, with its levels; all change the same experiment."""

    factors: tuple[str, ...]
    levels: Sequence[Level]


def section(evidence: Evidence) -> Section:
    """A row of panels for each score."""
    lead = (
        "For each factor that was moved alone, the score at its levels. The dashed line and the "
        "grey dot are the experiment that was changed; a vertical bar is the bootstrap "
        "interval of the difference to it: where the bar does not cross the dashed line, the "
        "change is supported. Rings are single seeds. All panels of a score have one scale."
    )
    parts = []
    for title, key in evidence.metrics.items():
        single = effects(evidence, key, bundles=False)
        bundles = effects(evidence, key, bundles=True)
        if single:
            parts += [tag("h3", f"{title} on {evidence.split}"), _charts(evidence, key, single)]
        if bundles:
            heading = tag("h3", f"Bundles: several factors at once, {title} on {evidence.split}")
            parts += [heading, _charts(evidence, key, bundles)]
        parts += _without_interval([*single, *bundles])
    if not parts:
        parts = [paragraph("No factor has two finished levels yet.")]
    return Section("effects", "Main effects", lead, join(parts))


def effects(evidence: Evidence, key: str, bundles: bool) -> list[Effect]:
    """The factors (or bundles) with the levels that have a score ``key``, in the plan's order."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in evidence.entries:
        factors, against = entry.row.experiment.get("factors") or [], reference(entry)
        known = entry.row.score(evidence.split, key).count
        if known and against is not None and (len(factors) > 1) == bundles and factors:
            groups.setdefault((against.title, *factors), []).append(entry)
    return [
        Effect(factors, [_start(those[0], factors), *(_level(e, evidence, key) for e in those)])
        for (_, *names), those in groups.items()
        for factors in [tuple(names)]
    ]


def level_of(config: Mapping[str, Any], factor: str) -> str | None:
    """The value of a dotted key for people: a number, or the name of a class; None if unknown."""
    value: Any = config
    for name in factor.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    if isinstance(value, Mapping):
        target = value.get("_target_")
        return str(target).rpartition(".")[2] if target else None
    return ("off", "on")[value] if isinstance(value, bool) else str(value)


def _start(entry: Entry, factors: Sequence[str]) -> Level:
    """The level of the experiment that is changed."""
    against = reference(entry)
    assert against is not None
    config = against.runs[0].config if against.runs else {}
    text = level_of(config, factors[0]) if len(factors) == 1 else None
    return Level(text or "before", against)


def _level(entry: Entry, evidence: Evidence, key: str) -> Level:
    found = differences(entry).get((evidence.split, key), Difference())
    return Level(str(entry.row.experiment.get("level", "")), entry.row, found)


def _without_interval(found: Sequence[Effect]) -> list[Markup]:
    """Why the charts show no interval, if none does."""
    moved = [level.found for effect in found for level in effect.levels if level.found]
    if not moved or any(one.bounds for one in moved):
        return []
    text = f"No intervals here: {moved[0].reason}. The dots alone tell nothing apart."
    return [paragraph(text, "quiet")]


def _charts(evidence: Evidence, key: str, found: Sequence[Effect]) -> Markup:
    """A panel for each effect, all on one vertical axis."""
    values = [
        value
        for effect in found
        for level in effect.levels
        for value in _extent(evidence, key, effect, level)
    ]
    y = svg.y_axis(*svg.padded(values, share=0.12, least=2.0))
    return panels(_chart(evidence, key, effect, y) for effect in found)


def _extent(evidence: Evidence, key: str, effect: Effect, level: Level) -> list[float]:
    """All heights that a level needs room for."""
    seeds = [run.score(evidence.split, key) for run in level.row.finished]
    start = effect.levels[0].row.score(evidence.split, key).mean
    bounds = level.found.bounds if level.found else None
    bars = [start + end for end in bounds] if bounds and start is not None else []
    return [value for value in [*seeds, *bars] if value is not None]


def _chart(evidence: Evidence, key: str, effect: Effect, y: Axis) -> Markup:
    levels = sorted(effect.levels, key=_order) if len(effect.factors) == 1 else effect.levels
    x = svg.x_axis(-0.5, len(levels) - 0.5)
    start = effect.levels[0]
    base = start.row.score(evidence.split, key).mean
    drawing = [svg.grid(y)]
    if base is not None:
        ends = {"x1": svg.LEFT, "x2": svg.WIDTH - svg.RIGHT, "y1": y(base), "y2": y(base)}
        drawing.append(tag("line", class_="level", **ends))
    texts = []
    for place, level in enumerate(levels):
        drawing.append(_mark(evidence, key, level, base, x(place), y))
        texts.append((float(place), _shortened(level.text)))
    name = effect.factors[0] if len(effect.factors) == 1 else "bundle"
    drawing.append(svg.x_ticks(x, texts, name if name != "bundle" else ""))
    title = name.rpartition(".")[2] if name != "bundle" else evidence.label(levels[-1].row)
    against = f"against {evidence.label(start.row)}"
    if len(effect.factors) > 1:
        against += f": {', '.join(effect.factors)}"
    return svg.chart(title, join(drawing), _in_words(evidence, key, effect), against)


def _mark(
    evidence: Evidence, key: str, level: Level, base: float | None, x: float, y: Axis
) -> Markup:
    """Dot, interval, seeds and value of a level at pixel ``x``."""
    score, found = level.row.score(evidence.split, key), level.found
    if score.mean is None:
        return Markup("")
    kind = "reference" if found is None else _kind(found)
    text = summary_text(score, "{:.1f}")
    hint = f"{level.row.title}: {text}"
    parts, top = [], y(score.mean)
    if found is not None:
        hint += f", difference {difference_text(found).rstrip('*')}"
        if found.bounds is not None and base is not None:
            low, high = (y(base + end) for end in found.bounds)
            parts.append(tag("line", class_=f"bar {kind}", x1=x, x2=x, y1=low, y2=high))
    if len(level.row.finished) > 1:
        for run in level.row.finished:
            value = run.score(evidence.split, key)
            if value is not None:
                parts.append(svg.dot(x - 9, y(value), "seed", f"{run.folder.name}: {value:.1f}", 3))
    parts.append(svg.dot(x, top, kind, hint, 4.5))
    height = top - 7 if found is None else top + 4  # off the dashed line
    parts.append(svg.label(x + 8, height, f"{score.mean:.1f}", kind))
    return join(parts)


def _kind(found: Difference) -> str:
    if not found.is_marked or found.bounds is None:
        return "open"
    return "better" if found.bounds.low > 0 else "worse"


def _in_words(evidence: Evidence, key: str, effect: Effect) -> str:
    """The chart as a sentence."""
    words = [
        f"{level.text}: {summary_text(level.row.score(evidence.split, key), '{:.1f}')}"
        for level in effect.levels
    ]
    return f"{evidence.title(key)} by {' and '.join(effect.factors)}: {', '.join(words)}"


def _order(level: Level) -> tuple[bool, float]:
    """Numbers by size; words keep their order after the first."""
    try:
        return False, float(level.text)
    except ValueError:
        return level.found is not None, 0.0


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
