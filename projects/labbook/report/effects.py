"""Main effects: for each factor that was moved, the score at each of its levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from labbook.report import plots
from labbook.report.data import ReportData
from labbook.report.plots import Level
from labbook.report.summary import verdict
from labbook.results.text import number


class Effect(NamedTuple):
    """A factor, or a bundle of several, and the levels that were tried from one experiment."""

    factors: tuple[str, ...]
    reference: str
    """Title of the experiment that is changed."""
    last: str
    """Title of the last experiment that changes it."""
    levels: Sequence[Level]


def effect_charts(data: ReportData) -> list[dict[str, Any]]:
    """For each score the charts of single factors, and those of bundles."""
    groups = []
    for key, title in data.metrics.items():
        known = effects(data, key)
        for is_bundle in (False, True):
            chosen = [effect for effect in known if (len(effect.factors) > 1) == is_bundle]
            if chosen:
                charts = _charts(data, title, chosen)
                groups.append({"title": title, "is_bundle": is_bundle, "charts": charts})
        found = data.differences(key).dropna(subset="estimate")
        if known and found["low"].isna().all():
            groups[-1]["no_interval"] = found["reason"].iloc[0]
    return groups


def effects(data: ReportData, key: str) -> list[Effect]:
    """The factors whose levels have a score ``key``, in the order of the plan.

    Levels that are numbers stand by size, others behind that of the reference.
    """
    known, column = data.experiments, f"{data.split} {key}"
    moved = known[known["factors"].map(bool) & known["reference"].notna()]
    moved = moved[moved[column].notna()]
    found = data.differences(key)
    differences = found[found["is_reference"]].set_index("title")
    effects = []
    for (reference, factors), group in moved.groupby(["reference", "factors"], sort=False):
        base = known.at[reference, column]
        levels = [Level(_start(data, reference, factors), base, _seeds(data, reference, column))]
        for title, name in group["level"].items():
            row = differences.loc[title]
            bounds = None if pd.isna(row["low"]) else (base + row["low"], base + row["high"])
            score, seeds = group.at[title, column], _seeds(data, title, column)
            levels.append(Level(str(name), score, seeds, bounds, verdict(row)))
        effects.append(Effect(factors, reference, group.index[-1], _by_size(levels)))
    return effects


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


def _start(data: ReportData, reference: str, factors: Sequence[str]) -> str:
    """The level of the experiment that is changed."""
    runs = data.experiments.at[reference, "runs"]
    text = level_of(runs[0].config, factors[0]) if len(factors) == 1 and runs else None
    return text or "before"


def _seeds(data: ReportData, title: str, column: str) -> list[float]:
    runs = data.results.runs
    return runs.loc[runs["title"] == title, column].dropna().tolist()


def _by_size(levels: Sequence[Level]) -> Sequence[Level]:
    try:
        return sorted(levels, key=lambda level: float(level.name))
    except ValueError:
        return levels


def _charts(data: ReportData, title: str, found: Sequence[Effect]) -> list[plots.Chart]:
    """A panel for each effect, all on one vertical axis."""
    levels = [level for effect in found for level in effect.levels]
    heights = [y for level in levels for y in (level.score, *level.seeds, *(level.bounds or ()))]
    limits = plots.limits(heights, least=2.0)
    charts = []
    for effect in found:
        is_bundle, factor = len(effect.factors) > 1, effect.factors[0]
        words = ", ".join(f"{x.name}: {number(x.score, '{:.1f}')}" for x in effect.levels)
        told = f"{title} by {' and '.join(effect.factors)}: {words}"
        drawing = plots.levels(effect.levels, limits, "" if is_bundle else factor, told)
        name = data.labels[effect.last] if is_bundle else factor.rpartition(".")[2]
        note = f"against {data.labels[effect.reference]}"
        note += f": {', '.join(effect.factors)}" if is_bundle else ""
        charts.append(plots.Chart(name, drawing, note))
    return charts
