"""What the runs support, what they leave open, and what may be chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from labbook.report import plots
from labbook.report.data import BETTER, OPEN, UNKNOWN, WORSE, ReportData
from labbook.results.intervals import LEVEL
from labbook.results.text import difference_text

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
    """Differences in the main score, to baselines and to parents, in words.

    Beside the columns of :meth:`ReportData.differences`: ``name``, ``against_name``, ``seeds``
    (of the side with fewer), ``is_bundle``, ``note`` on these, ``text`` of the difference, ``word``
    for the verdict, and ``why`` there is none.
    """
    found, known = data.differences(data.metric), data.experiments
    finished = [found[side].map(known["finished"]) for side in ("title", "against")]
    found = found.assign(
        name=found["title"].map(data.labels),
        against_name=found["against"].map(data.labels),
        seeds=np.minimum(*finished),
        is_bundle=found["title"].map(known["factors"].map(len)) > 1,
        word=found["verdict"].map(WORDS),
    )
    rows = list(found.itertuples())
    return found.assign(
        note=[
            f"against {row.against_name}{', bundle' * row.is_bundle}"
            + (f", {row.seeds} seeds" if row.seeds > 1 else "")
            for row in rows
        ],
        text=[difference_text(row).rstrip("*") for row in rows],
        why=[_lacking(data, row) for row in rows],
    )


def may_be_chance(claims: DataFrame) -> pd.Series:
    """Which intervals leave out 0 although seeds alone could make up the difference.

    Then the mean is within two standard errors of 0, over the differences between seeds.
    """
    error = claims["spread"] / claims["seeds"] ** 0.5
    return claims["is_marked"] & (claims["estimate"].abs() < 2 * error)


def _forest(data: ReportData, title: str, claims: DataFrame) -> list[plots.Chart]:
    """A chart of the known differences; nothing without any."""
    known = claims.dropna(subset="estimate")
    if known.empty:
        return []
    note = f"{data.score_title(data.metric)} on {data.split}, points"
    told = "; ".join(known["name"] + " " + known["note"] + ": " + known["text"])
    return [plots.Chart(title, plots.forest(known, f"{title}. {told}"), note)]


def _lacking(data: ReportData, found: Any) -> str:
    """Why there is no verdict; nothing if there is one."""
    if found.verdict != UNKNOWN:
        return ""
    row = data.experiments.loc[found.title]
    if not row["finished"]:
        reason = f" ({row['reasons'][0].splitlines()[0]})" if row["reasons"] else ""
        return f"no finished run{reason}"
    if not data.experiments.at[found.against, "finished"]:
        return f"{found.against} has no finished run"
    return "the score is not defined" if pd.isna(found.estimate) else f"no interval: {found.reason}"
