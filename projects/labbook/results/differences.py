"""By how much each experiment of a study differs from its baseline and from its parent."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from pandas import DataFrame

from labbook.results.comparison import SPLITS, Row, baseline_of, parent_of, seed_differences
from labbook.results.intervals import Bounds, IntervalCache


class Difference(NamedTuple):
    """A score of one experiment minus that of another, means over seeds, AP in points."""

    estimate: float | None = None
    spread: float | None = None
    """Sample standard deviation of the differences between runs of the same seed; None with fewer
    than two such pairs."""
    bounds: Bounds | None = None
    """Bootstrap interval over images, or over recordings of events."""
    reason: str = ""
    """Why there is no interval."""

    @property
    def is_marked(self) -> bool:
        """Whether the interval excludes 0."""
        return self.bounds is not None and self.bounds.excludes_zero


_COLUMNS = (
    *("title", "role", "against", "split", "key"),
    *("estimate", "spread", "low", "high", "is_marked", "reason"),
)

Differences = Mapping[tuple[str, str], Difference]  # by split and key of the score


@dataclass(frozen=True)
class Entry:
    """An experiment and what it is compared with."""

    row: Row
    baseline: Row | None = None
    """None for a baseline."""
    parent: Row | None = None
    """None where it is the baseline."""
    to_baseline: Differences = field(default_factory=dict)
    to_parent: Differences = field(default_factory=dict)


def compare(rows: Sequence[Row], keys: Iterable[str], intervals: IntervalCache) -> list[Entry]:
    """An entry for each row, with its differences in the scores ``keys`` on both splits."""
    keys = tuple(keys)
    return [_entry(row, rows, keys, intervals) for row in rows]


def difference(
    row: Row, reference: Row, split: str, key: str, intervals: IntervalCache
) -> Difference:
    """``row`` minus ``reference``; empty where one of them has no such score."""
    ours, theirs = row.score(split, key).mean, reference.score(split, key).mean
    if ours is None or theirs is None:
        return Difference()
    pairs = seed_differences(row, reference, split, key)
    spread = statistics.stdev(pairs) if len(pairs) > 1 else None
    found = intervals.difference(row.finished, reference.finished, split, key)
    return Difference(ours - theirs, spread, found.bounds, found.reason)


def _entry(row: Row, rows: Sequence[Row], keys: Sequence[str], intervals: IntervalCache) -> Entry:
    baseline, parent = baseline_of(row, rows), parent_of(row, rows)
    if parent is baseline:
        parent = None

    def to(reference: Row | None) -> Differences:
        if reference is None:
            return {}
        return {
            (split, key): difference(row, reference, split, key, intervals)
            for split in SPLITS
            for key in keys
        }

    return Entry(row, baseline, parent, to(baseline), to(parent))


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
        | _difference(by_seed, experiments.loc[[title, against]], split, key, intervals)
        for title, row in experiments.iterrows()
        for role, against in _references(row).items()
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
    found = intervals.difference(finished[0], finished[1], split, key)
    low, high = found.bounds or (math.nan, math.nan)
    return {
        "estimate": pair.at[title, column] - pair.at[against, column],
        "spread": (ours - theirs).std(),
        "low": low,
        "high": high,
        "is_marked": low > 0 or high < 0,
        "reason": found.reason,
    }
