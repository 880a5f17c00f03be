"""By how much each experiment of a study differs from its baseline and from its parent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from pandas import DataFrame

from labbook.results.frames import SPLITS
from labbook.results.intervals import IntervalCache

_COLUMNS = (
    *("title", "role", "against", "split", "key"),
    *("estimate", "spread", "low", "high", "is_marked", "reason"),
)


def differences_frame(
    runs: DataFrame,
    experiments: DataFrame,
    keys: Iterable[str],
    intervals: IntervalCache,
    splits: Sequence[str] = SPLITS,
) -> DataFrame:
    """Each experiment's scores minus its baseline's and, where it is another, its parent's.

    Args:
        runs: of :func:`labbook.results.frames.runs_frame`.
        experiments: of :func:`labbook.results.frames.experiments_frame`.
        keys: of the scores, as ``bbox/AP50``.
        intervals: where the bootstrap intervals are looked up.
        splits: on which they were scored.

    Returns:
        Long; its columns are described in :mod:`labbook.results.frames`.
    """
    by_seed = runs[runs["finished"]].set_index(["title", "seed"])
    records = [
        {"title": title, "role": role, "against": against, "split": split, "key": key}
        | _difference(by_seed, pair, split, key, intervals)
        for title, row in experiments.iterrows()
        for role, against in _references(row).items()
        for pair in [experiments.loc[[title, against]]]
        for key, split in product(dict.fromkeys(keys), splits)
    ]
    return DataFrame(records, columns=_COLUMNS)


def _references(row: Any) -> dict[str, str]:
    """Titles of those that an experiment is compared with, by role."""
    found = {"baseline": row["baseline"], "parent": row["reference"]}
    if found["parent"] == found["baseline"]:
        del found["parent"]
    return {role: title for role, title in found.items() if title is not None}


def _difference(
    by_seed: DataFrame, pair: DataFrame, split: str, key: str, intervals: IntervalCache
) -> dict[str, float | bool | str]:
    """The first of two experiments minus the second, where both have such a score."""
    column, (title, against) = f"{split} {key}", pair.index
    if column not in pair or pair[column].isna().any():
        return {"is_marked": False, "reason": ""}
    ours, theirs = by_seed.loc[title, column], by_seed.loc[against, column]
    finished = [[run for run in runs if run.is_finished] for runs in pair["runs"]]
    low, high, reason = intervals.difference(finished[0], finished[1], split, key)
    return {
        "estimate": pair.at[title, column] - pair.at[against, column],
        "spread": (ours - theirs).std(),
        "low": low,
        "high": high,
        "is_marked": low > 0 or high < 0,
        "reason": reason,
    }
