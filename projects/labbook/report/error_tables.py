"""The errors of all experiments side by side, as means over their seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pandas import DataFrame

from labbook.report import plots
from labbook.report.data import ReportData, errors_file
from labbook.report.errors import Analysis

Analyses = Mapping[str, Sequence[Analysis]]  # of the seeds of each experiment, by title


def error_tables(data: ReportData) -> dict[str, Any]:
    """Costs of error types by size, recall by size, false alarms and confusion."""
    runs = data.results.runs
    analysed = runs[runs["folder"].isin(list(data.errors))]
    known = {
        title: [data.errors[folder] for folder in folders]
        for title, folders in analysed.groupby("title", sort=False)["folder"]
    }
    sizes = dict.fromkeys(size for one in data.errors.values() for size in one["sizes"])
    alarms = {title: [one["false_alarms"] for one in seeds] for title, seeds in known.items()}
    return {
        "file": errors_file(data.results, data.root).name,
        "sizes": {size: _cost_table(known, size) for size in sizes},
        "recalls": [_recall_chart(data, title, known) for title in known],
        "alarms": _means(alarms).to_dict("index"),
        "empty_images": max(
            (one["empty_images"] for seeds in alarms.values() for one in seeds), default=0
        ),
        "confusions": {title: seeds[0] for title, seeds in known.items()},
    }


def _cost_table(known: Analyses, size: str) -> dict[str, Any]:
    """For each title the AP, and what each type of error costs and how often it occurs."""
    parts = {title: [one["sizes"][size] for one in seeds] for title, seeds in known.items()}
    first = next(iter(parts.values()))[0]
    types = list(first["errors"])
    records = {
        title: [
            {"ap": part["ap"]}
            | {name: error["cost"] for name, error in part["errors"].items()}
            | {f"{name} count": error["count"] for name, error in part["errors"].items()}
            for part in seeds
        ]
        for title, seeds in parts.items()
    }
    means = _means(records)
    low, high = first["area_range"] or (0, math.inf)
    return {
        "types": types,
        "costs": means.to_dict("index"),
        "highest": means[types].max(axis=None),
        "range": f"from {low:,.0f}" if high >= 1e9 else f"{low:,.0f} to {high:,.0f}",
    }


def _means(records: Mapping[str, Sequence[Mapping[str, float | None]]]) -> DataFrame:
    """A row for each title: the means of its records."""
    return DataFrame(
        {title: DataFrame(seeds, dtype=float).mean() for title, seeds in records.items()}
    ).T


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
