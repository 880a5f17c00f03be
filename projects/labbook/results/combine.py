"""Which level of each factor to go on with, by the declared metric on valid and its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandas import DataFrame

from labbook.called import lab
from labbook.config.studies import Study
from labbook.config.trees import below
from labbook.results.collect import compare
from labbook.results.frames import runs_frame
from labbook.results.runs import find_runs
from labbook.results.text import difference_text
from runfolder.run import Run

SPLIT = "valid"
"""Test is for the final word on what was chosen, so it has no say in the choice."""
_NAME = "combined"  # of the config that a combination is written as


@dataclass(frozen=True)
class Candidate:
    """A finished experiment, as a level of all factors that it moves from the baseline."""

    name: str
    level: str
    """Where it moves its factors."""
    factors: tuple[str, ...]
    """Its own and those of the experiments between it and the baseline: it is taken whole."""
    gain: Any
    """To the baseline, in points of the declared metric: a row of the frame of differences."""
    runs: tuple[Run, ...] = ()
    """Those that have finished."""

    @property
    def is_supported(self) -> bool:
        """Whether it is better than the baseline by more than the choice of images explains."""
        return self.gain.low > 0

    def overlaps(self, other: Candidate) -> bool:
        """Whether both move the same key, or one a key within the other's."""
        pairs = ((a, b) for a in self.factors for b in other.factors)
        return any(below(a, [b]) or below(b, [a]) for a, b in pairs)


@dataclass(frozen=True)
class Combination:
    """The best level of each factor, and why."""

    study: Study
    metric: str
    baseline: str
    """Name of the experiment."""
    chosen: tuple[Candidate, ...]
    remarks: tuple[str, ...]
    """A sentence for each factor, and on what is missing."""

    @property
    def name(self) -> str:
        """Of the experiment that it is written as."""
        return self.study.run_name(_NAME)

    @property
    def factors(self) -> list[str]:
        """All keys that the combined experiment moves."""
        return list(dict.fromkeys(key for one in self.chosen for key in one.factors))


def combine(study: Study, root: Path) -> Combination:
    """Choose from the finished runs of a study.

    Raises:
        ValueError: the baseline has not finished, there are several, or the runs were not made
            alike.
    """
    runs = runs_frame(study, find_runs(study, root))
    is_usual = runs["title"] == runs["experiment"]
    runs = runs[is_usual & (runs["experiment"] != study.run_name(_NAME))]
    results = compare(study, root, runs, splits=[SPLIT])
    experiments, baseline = results.experiments, _baseline(study, results.experiments)
    gains = {one.title: one for one in results.differences.query("role == 'baseline'").itertuples()}
    candidates, missing = [], []
    for row in experiments.drop(index=baseline).itertuples():
        line = [row.Index, *row.ancestors]
        if not row.finished:
            missing.append(f"{row.Index} has not finished; left out.")
        elif line[-1] != baseline:
            unknown = experiments.at[line[-1], "parent"]
            missing.append(
                f"{row.Index} builds on {unknown}, which has no run folder to say what it moves; "
                "left out."
            )
        else:
            factors = [key for title in reversed(line) for key in experiments.at[title, "factors"]]
            keys = tuple(dict.fromkeys(factors))
            ended = tuple(run for run in row.runs if run.is_finished)
            candidates.append(Candidate(row.Index, str(row.level), keys, gains[row.Index], ended))
    chosen, reasons = choose(candidates)
    return Combination(study, results.metric, baseline, tuple(chosen), (*reasons, *missing))


def choose(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[str]]:
    """The best level of each group of factors where it is supported, and a sentence for each.

    Experiments that move the same factors are levels of them, of which the one with the highest
    score is looked at; it is taken if it is supported. Of two that move the same key the better
    one is taken.
    """
    groups: dict[frozenset[str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(frozenset(candidate.factors), []).append(candidate)
    best = [max(levels, key=_gain) for levels in groups.values()]
    chosen: list[Candidate] = []
    remarks: dict[str, str] = {}
    for one in sorted(best, key=_gain, reverse=True):
        rival = next((other for other in chosen if one.overlaps(other)), None)
        remarks[one.name] = _remark(one, rival)
        if one.is_supported and rival is None:
            chosen.append(one)
    return [one for one in best if one in chosen], [remarks[one.name] for one in best]


def _remark(one: Candidate, rival: Candidate | None) -> str:
    kept = "the baseline's level is kept"
    keys = ", ".join(one.factors) + (" (a bundle, taken whole)" if len(one.factors) > 1 else "")
    gain = f"{difference_text(one.gain)} points"
    found = f"{keys}: the best level is {one.level} ({one.name}), {gain}"
    if math.isnan(one.gain.estimate):
        return f"{found}; without a score it cannot be judged, {kept}."
    if math.isnan(one.gain.low):
        return f"{found}; THIN EVIDENCE, {kept}: there is no interval ({one.gain.reason})."
    if one.gain.estimate <= 0:
        return f"{found}, not above the baseline; {kept}."
    if not one.is_supported:
        return f"{found}; THIN EVIDENCE, {kept}: the interval does not leave out 0."
    if rival is not None:
        return f"{found}; left out, because {rival.name} moves the same and gains more."
    return f"{found}; taken."


def _gain(one: Candidate) -> float:
    return -math.inf if math.isnan(one.gain.estimate) else one.gain.estimate


def _baseline(study: Study, experiments: DataFrame) -> str:
    """The only experiment without parent.

    Raises:
        ValueError: there is none that has finished, or there are several.
    """
    roots = experiments[experiments["parent"].isna()]
    if len(roots) > 1:
        raise ValueError(
            f"The study '{study.name}' has several experiments without parent "
            f"({', '.join(roots.index)}), so there is no one baseline to combine on."
        )
    if not roots["finished"].any():
        raise ValueError(
            f"The baseline of the study '{study.name}' has not finished, so nothing can be "
            f"compared with it. `{lab(f'run {study.family}')}` runs what is missing."
        )
    return roots.index[0]
