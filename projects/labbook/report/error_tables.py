"""The errors of all experiments side by side, as means over their seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pandas import DataFrame

from labbook.report import plots
from labbook.report.data import ReportData, errors_file
from labbook.report.errors import Analysis

Analyses = Mapping[str, Sequence[Analysis]]  # of the seeds of each experiment, by title
_ALARMS = ("alarms", "images_with_alarms", "per_image")


def error_tables(data: ReportData) -> dict[str, Any]:
    """Costs of error types by size, recall by size, false alarms and confusion."""
    runs = data.results.runs
    titles = runs[runs["folder"].isin(list(data.errors))].set_index("folder")["title"]
    if titles.empty:
        return {"sizes": {}}
    known = {
        title: [data.errors[folder] for folder in group.index]
        for title, group in titles.groupby(titles, sort=False)
    }
    numbers = pd.json_normalize([data.errors[folder] for folder in titles.index])
    numbers = numbers.apply(pd.to_numeric, errors="coerce").set_index(titles.to_numpy())
    means = numbers.groupby(level=0, sort=False).mean()  # columns as "sizes.all.errors.miss.cost"
    alarms = means[[f"false_alarms.{name}" for name in _ALARMS]].set_axis(_ALARMS, axis=1)
    sizes = next(iter(known.values()))[0]["sizes"]
    return {
        "file": errors_file(data.results, data.root).name,
        "sizes": {size: _cost_table(means, f"sizes.{size}", part) for size, part in sizes.items()},
        "recalls": [_recall_chart(data, title, known) for title in known],
        "alarms": alarms.to_dict("index"),
        "empty_images": int(numbers["false_alarms.empty_images"].max()),
        "confusions": {title: seeds[0] for title, seeds in known.items()},
    }


def _cost_table(means: DataFrame, place: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """For each title the AP, and what each type of error costs and how often it occurs.

    Args:
        means: numbers of the analyses by title.
        place: where those of this size are among its columns.
        part: those of a single run, for the types and the limits of the size.
    """
    types, errors = list(part["errors"]), f"{place}.errors"
    columns = {f"{place}.ap": "ap"} | {f"{errors}.{name}.cost": name for name in types}
    columns |= {f"{errors}.{name}.count": f"{name} count" for name in types}
    costs = means[list(columns)].rename(columns=columns)
    low, high = part["area_range"] or (0, math.inf)
    return {
        "types": types,
        "costs": costs.to_dict("index"),
        "highest": costs[types].max(axis=None),
        "range": f"from {low:,.0f}" if high >= 1e9 else f"{low:,.0f} to {high:,.0f}",
    }


def _recall_chart(data: ReportData, title: str, known: Analyses) -> plots.Chart:
    """Share of the objects that are found, for each size, beside the changed experiment."""
    bins, lines, told = known[title][0]["recall_by_size"], [], []
    for owner in (data.experiments.at[title, "reference"], title):
        seeds = ([b["recall"] for b in one["recall_by_size"]] for one in known.get(owner, ()))
        recall = DataFrame(seeds, dtype=float).mean().dropna()
        if len(recall):
            lines.append(plots.Line(recall, owner != title, end=f"{recall.iloc[-1]:.0f} %"))
            steps = ", ".join(f"{_bin(bins[int(p)])} px {v:.0f} %" for p, v in recall.items())
            told.append(f"{data.labels[owner]}: {steps}")
    drawing = plots.lines(
        lines,
        (0, 105),
        "square root of the area, px",
        f"Recall of {'; '.join(told)}",
        x_ticks=[_bin(one) for one in bins],
    )
    return plots.Chart(data.labels[title], drawing)


def _bin(one: Mapping[str, Any]) -> str:
    return f"≥{one['low']:g}" if one["high"] is None else f"{one['low']:g}–{one['high']:g}"
