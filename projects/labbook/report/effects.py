"""Main effects: for each factor that was moved, the score at each of its levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from pandas import DataFrame

from labbook.config.signatures import MISSING
from labbook.config.trees import select
from labbook.report import plots
from labbook.report.data import ReportData


class Effect(NamedTuple):
    """A factor, or a bundle of several, and the levels that were tried from one experiment."""

    factors: tuple[str, ...]
    reference: str
    """Title of the experiment that is changed."""
    levels: DataFrame
    """For :func:`labbook.report.plots.levels`, by title."""


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
    """The factors whose levels and reference have a score ``key``, in the order of the plan.

    Levels that are numbers stand by size, others behind that of the reference.
    """
    known, column = data.experiments, f"{data.split} {key}"
    if column not in known:
        return []
    has_both = known[column].notna() & known["reference"].map(known[column]).notna()
    moved = known[known["factors"].map(bool) & has_both]
    differences = data.differences(key).query("is_reference").set_index("title")
    seeds = data.results.runs.dropna(subset=column).groupby("title")[column].agg(list)
    effects = []
    for (reference, factors), group in moved.groupby(["reference", "factors"], sort=False):
        rows = known.loc[[reference, *group.index]]
        base, found = known.at[reference, column], differences.loc[group.index].reindex(rows.index)
        levels = DataFrame(
            {
                "name": _names(rows, factors),
                "score": rows[column],
                "seeds": seeds.reindex(rows.index),
                "is_reference": rows.index == reference,
                "verdict": found["verdict"],
                "low": base + found["low"],
                "high": base + found["high"],
            }
        )
        sizes = pd.to_numeric(levels["name"], errors="coerce").sort_values(kind="stable")
        ordered = levels if sizes.isna().any() else levels.loc[sizes.index]
        effects.append(Effect(factors, reference, ordered))
    return effects


def level_of(config: Mapping[str, Any], factor: str) -> str | None:
    """The value of a dotted key for people: a number, or the name of a class; None if unknown."""
    value = select(config, factor)
    if value == MISSING:
        return None
    if isinstance(value, Mapping):
        target = value.get("_target_")
        return str(target).rpartition(".")[2] if target else None
    return ("off", "on")[value] if isinstance(value, bool) else str(value)


def _names(rows: DataFrame, factors: Sequence[str]) -> list[str]:
    """What to call the levels, all in one way: by the values of a single factor in the runs.

    They are what was done, also at toy size. Where they tell nothing apart, as those of a bundle,
    the levels have the names that the experiments declare.
    """
    known = [level_of(runs[0].config, factors[0]) if runs else None for runs in rows["runs"]]
    values = [value for value in known if value is not None]
    if len(factors) == 1 and len(set(values)) == len(rows):
        return values
    return ["before", *rows["level"].iloc[1:].map(str)]


def _charts(data: ReportData, title: str, found: Sequence[Effect]) -> list[plots.Chart]:
    """A panel for each effect, all on one vertical axis."""
    known = pd.concat([effect.levels for effect in found])
    heights = [*known[["score", "low", "high"]].to_numpy().flat, *known["seeds"].explode()]
    limits = plots.limits(heights, least=2.0)
    charts = []
    for factors, reference, levels in found:
        is_bundle, names = len(factors) > 1, ", ".join(factors)
        words = ", ".join(levels["name"] + ": " + levels["score"].map("{:.1f}".format))
        drawing = plots.levels(
            levels, limits, "" if is_bundle else names, f"{title} by {names}: {words}"
        )
        name = data.labels[levels.index[-1]] if is_bundle else names.rpartition(".")[2]
        note = f"against {data.labels[reference]}" + (f": {names}" if is_bundle else "")
        charts.append(plots.Chart(name, drawing, note))
    return charts
