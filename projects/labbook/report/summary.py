"""What the runs support, what they leave open, and what may be chance."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pandas import DataFrame

from labbook.report import plots
from labbook.report.data import ReportData
from labbook.results.intervals import LEVEL
from labbook.results.text import difference_text

BETTER, WORSE, OPEN, UNKNOWN = "better", "worse", "open", "unknown"
WORDS = {
    BETTER: "▲ better",
    WORSE: "▼ worse",
    OPEN: "not told apart",
    UNKNOWN: "no statement",
}


def summary(data: ReportData) -> dict[str, Any]:
    """The first thing to read: verdicts, forests of differences, and what cautions need."""
    found, finished = comparisons(data), data.experiments["finished"]
    claims = found[found["is_reference"]]
    judged = claims[claims["verdict"] != UNKNOWN]
    seeds = finished[finished > 0]
    return {
        "experiments": len(finished),
        "ended": len(seeds),
        "runs": int(data.experiments["runs"].map(len).sum()),
        "finished": int(finished.sum()),
        "seeds": sorted({seeds.min(), seeds.max()}) if len(seeds) else [],
        "claims": {
            verdict: list(claims[claims["verdict"] == verdict].itertuples()) for verdict in WORDS
        },
        "forests": [
            *_forest(data, "Differences", claims),
            *_forest(data, "Differences to the baseline", found[~found["is_reference"]]),
        ],
        "judged": len(judged),
        "marked": int(judged["is_marked"].sum()),
        "by_chance": (1 - LEVEL) * len(judged),
        "doubtful": list(claims.loc[may_be_chance(claims), "name"]),
        "has_bundles": bool(claims["is_bundle"].any()),
    }


def comparisons(data: ReportData) -> DataFrame:
    """Differences in the main score, to baselines and to parents, and what they support.

    Beside the columns of :meth:`ReportData.differences`: ``name``, ``against_name``, ``seeds``
    (of the side with fewer), ``is_bundle``, ``verdict`` (a key of :data:`WORDS`), ``why`` (there
    is no verdict) and ``text``.
    """
    found, known = data.differences(data.metric), data.experiments
    sides = [found["title"].map(known["finished"]), found["against"].map(known["finished"])]
    return found.assign(
        name=found["title"].map(data.labels),
        against_name=found["against"].map(data.labels),
        seeds=pd.concat(sides, axis=1).min(axis=1),
        is_bundle=found["title"].map(known["factors"].map(len)) > 1,
        verdict=[verdict(row) for row in found.itertuples()],
        why=[_lacking(data, row) for row in found.itertuples()],
        text=[difference_text(row).rstrip("*") for row in found.itertuples()],
    )


def verdict(found: Any) -> str:
    """What an interval supports, as a key of :data:`WORDS`."""
    if pd.isna(found.low):
        return UNKNOWN
    if not found.is_marked:
        return OPEN
    return BETTER if found.low > 0 else WORSE


def may_be_chance(claims: DataFrame) -> pd.Series:
    """Which intervals leave out 0 although seeds alone could make up the difference.

    Then the mean is within two standard errors of 0, over the differences between seeds.
    """
    error = claims["spread"] / claims["seeds"] ** 0.5
    return claims["is_marked"] & (claims["estimate"].abs() < 2 * error)


def _forest(data: ReportData, title: str, claims: DataFrame) -> list[plots.Chart]:
    """A chart of the known differences; nothing without any."""
    intervals = [
        plots.Interval(
            row.name,
            f"against {row.against_name}{', bundle' * row.is_bundle}"
            + (f", {row.seeds} seeds" if row.seeds > 1 else ""),
            row.text,
            row.verdict,
            WORDS[row.verdict],
            row.estimate,
            None if pd.isna(row.low) else (row.low, row.high),
        )
        for row in claims[claims["estimate"].notna()].itertuples(index=False)
    ]
    if not intervals:
        return []
    score = f"{data.score_title(data.metric)} on {data.split}, points"
    told = "; ".join(f"{one.name} {one.note}: {one.text}" for one in intervals)
    return [plots.Chart(title, plots.forest(intervals, f"{title}. {told}"), score)]


def _lacking(data: ReportData, found: Any) -> str:
    """Why there is no verdict; nothing if there is one."""
    if not pd.isna(found.low):
        return ""
    row = data.experiments.loc[found.title]
    if not row["finished"]:
        reason = f" ({row['reasons'][0].splitlines()[0]})" if row["reasons"] else ""
        return f"no finished run{reason}"
    if not data.experiments.at[found.against, "finished"]:
        return f"{found.against} has no finished run"
    return "the score is not defined" if pd.isna(found.estimate) else f"no interval: {found.reason}"
