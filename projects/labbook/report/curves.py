"""Learning curves, each experiment beside the one that it changes, and costs against accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from pandas import DataFrame, Series

from labbook.report import plots
from labbook.report.data import ReportData
from labbook.results.frames import curves_frame
from labbook.results.text import duration
from runfolder.names import TOTAL_LOSS, VALIDATION_LOSS
from runfolder.run import Run

_MOST_POINTS = 120
"""Of a line; more cannot be seen on a chart of this size."""


class Cost(NamedTuple):
    """Something that a run spends."""

    title: str
    column: str
    """Of :func:`labbook.results.frames.experiments_frame`."""
    unit: str
    scale: float
    """Units of the axis in one unit of the column."""
    text: Callable[[float], str]


COSTS = (
    Cost("Training time", "training_seconds", "h", 1 / 3600, duration),
    Cost("Time of a step", "seconds_per_iteration", "s", 1.0, lambda value: f"{value:.3g} s"),
    Cost("Peak memory", "peak_memory_mb", "GB", 1 / 1024, lambda value: f"{value:,.0f} MB"),
)


def learning_curves(data: ReportData) -> dict[str, list[plots.Chart]]:
    """Charts of the score on valid and of the losses, one for each experiment that has some."""
    metric = data.results.metric
    curves = curves_frame(data.results.runs, [metric, TOTAL_LOSS, VALIDATION_LOSS])
    runs = data.results.runs.dropna(subset="run").set_index("folder")["run"]
    curves["at"] = (curves["iteration"] + 1) / curves["folder"].map(runs.map(_steps_per_tick))
    curves = curves[curves["value"].notna() & ((curves["key"] == metric) | (curves["value"] > 0))]
    return {
        "scores": _charts(data, data.score_title(metric), curves[curves["key"] == metric]),
        "losses": _charts(data, "loss", curves[curves["key"] != metric], is_log=True),
    }


def cost_charts(data: ReportData) -> list[plots.Chart]:
    """A chart for each cost: the main score against it."""
    score = f"{data.split} {data.metric}"
    known = data.experiments.reindex(columns=[score]).set_axis(["score"], axis=1)
    known["name"] = known.index.map(data.labels)
    known["is_reference"] = known.index.isin(data.results.baselines)
    charts = []
    for cost in COSTS:
        spent = data.experiments[cost.column]
        words = known["name"] + known["score"].map(": {:.1f} for ".format) + spent.map(cost.text)
        found = known.assign(cost=spent * cost.scale, words=words).dropna()
        if len(found):
            told, axis = "; ".join(found["words"]), f"{cost.title.lower()}, {cost.unit}"
            charts.append(plots.Chart(cost.title, plots.costs(found, axis, told)))
    return charts


def thin_out(curve: Series, most: int = _MOST_POINTS) -> Series:
    """Means of neighbouring points, of index and value, so that at most ``most`` are left."""
    groups = np.arange(len(curve)) // max(math.ceil(len(curve) / most), 1)
    means = curve.rename_axis("at").reset_index(name="value").groupby(groups).mean()
    return means.set_index("at")["value"]


def _steps_per_tick(run: Run) -> int:
    """The steps in an epoch; 1 where the length of a run is set in steps."""
    train = run.config.get("train") or {}
    return (train.get("epochs") and train.get("iterations_per_epoch")) or 1


def _charts(
    data: ReportData, what: str, curves: DataFrame, is_log: bool = False
) -> list[plots.Chart]:
    """A panel for each experiment that has curves, all on one vertical axis."""
    values = curves["value"]
    limits = plots.limits([0, *values], least=1.0)
    if is_log:
        limits = (values.min() / 1.1, values.max() * 1.1)
    charts = []
    for title, row in data.experiments[data.experiments.index.isin(curves["title"])].iterrows():
        lines = [
            line
            for owner in (row["reference"], title)
            for line in _lines(curves[curves["title"] == owner], owner != title)
        ]
        ends = [line.end + " (reference)" * line.is_reference for line in lines if line.end]
        told = f"{what} of {title}, at the end: {', '.join(ends)}"
        unit = "step" if row["counts_steps"] else "epoch"
        drawing = plots.lines(lines, limits, unit, told, is_log)
        charts.append(plots.Chart(data.labels[title], drawing, data.unfinished(title)))
    return charts


def _lines(curves: DataFrame, is_reference: bool) -> Iterator[plots.Line]:
    """The curves of an experiment; those of its first run are labelled and thick."""
    for (folder, key), group in curves.groupby(["folder", "key"], sort=False):
        curve = thin_out(group.set_index("at")["value"])
        is_further, is_dashed = folder != curves["folder"].iloc[0], key == VALIDATION_LOSS
        end = "" if is_further or is_dashed else f"{curve.iloc[-1]:.3g}"
        yield plots.Line(curve, is_reference, is_dashed, is_further, end)
