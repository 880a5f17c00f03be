"""Which level of each factor to go on with, by the declared metric on valid and its interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labbook.config.lineage import below
from labbook.config.studies import Study
from labbook.results.cells import difference_text
from labbook.results.comparison import Row, ancestry, declared_metric, group_runs
from labbook.results.differences import Difference, difference
from labbook.results.intervals import IntervalCache
from labbook.results.rules import check_comparable
from labbook.results.runs import read_runs

SPLIT = "valid"
"""Test is for the final word on what was chosen, so it has no say in the choice."""


@dataclass(frozen=True)
class Candidate:
    """A finished experiment, as a level of all factors that it moves from the baseline."""

    row: Row
    factors: tuple[str, ...]
    """Its own and those of the experiments between it and the baseline: it is taken whole."""
    gain: Difference
    """To the baseline, in points of the declared metric."""

    @property
    def level(self) -> str:
        """Where it moves its factors."""
        return str(self.row.experiment.get("level"))

    @property
    def is_supported(self) -> bool:
        """Whether it is better than the baseline by more than the choice of images explains."""
        return self.gain.bounds is not None and self.gain.bounds.low > 0

    def overlaps(self, other: Candidate) -> bool:
        """Whether both move the same key, or one a key within the other's."""
        pairs = ((a, b) for a in self.factors for b in other.factors)
        return any(below(a, [b]) or below(b, [a]) for a, b in pairs)


@dataclass(frozen=True)
class Combination:
    """The best level of each factor, and why."""

    study: Study
    metric: str
    baseline: Row
    chosen: tuple[Candidate, ...]
    remarks: tuple[str, ...]
    """A sentence for each factor, and on what is missing."""

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
    runs, damaged = read_runs(study, root)
    rows = [
        row
        for row in group_runs(study, runs, (), damaged)
        if row.name != combined_name(study) and row.runs and not row.label
    ]
    check_comparable(rows)
    baseline = _baseline(study, rows)
    metric = declared_metric(rows)
    intervals = IntervalCache(root / study.work_folder / f"{study.family}_intervals.json")
    intervals = IntervalCache(root / study.work_folder / f"{study.family}_intervals.json")
    candidates, remarks = [], []
    for row in rows:
        if row is baseline:
            continue
        if not row.finished:
            remarks.append(f"{row.name} has not finished; left out.")
        elif ancestry(row, rows)[-1] is not baseline:
            remarks.append(
                f"{row.name} builds on {_missing_link(row, rows)}, which has no run folder to say "
                "what it moves; left out."
            )
        else:
            gain = difference(row, baseline, SPLIT, metric, intervals)
            candidates.append(Candidate(row, _factors(row, rows), gain))
    chosen, reasons = choose(candidates)
    return Combination(study, metric, baseline, tuple(chosen), (*reasons, *remarks))


def combined_name(study: Study) -> str:
    """Run name of the experiment that the combination is written as."""
    return study.run_name("combined")


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
        remarks[one.row.name] = _remark(one, rival)
        if one.is_supported and rival is None:
            chosen.append(one)
    in_order = [one for one in best if one in chosen]
    return in_order, [remarks[one.row.name] for one in best]


def _remark(one: Candidate, rival: Candidate | None) -> str:
    kept = "the baseline's level is kept"
    gain = f"{difference_text(one.gain)} points"
    found = f"{_moved(one)}: the best level is {one.level} ({one.row.name}), {gain}"
    if one.gain.estimate is None:
        return f"{found}; without a score it cannot be judged, {kept}."
    if one.gain.bounds is None:
        return f"{found}; THIN EVIDENCE, {kept}: there is no interval ({one.gain.reason})."
    if one.gain.estimate <= 0:
        return f"{found}, not above the baseline; {kept}."
    if not one.is_supported:
        return f"{found}; THIN EVIDENCE, {kept}: the interval does not leave out 0."
    if rival is not None:
        return f"{found}; left out, because {rival.row.name} moves the same and gains more."
    return f"{found}; taken."


def _moved(one: Candidate) -> str:
    names = ", ".join(one.factors)
    return f"{names} (a bundle, taken whole)" if len(one.factors) > 1 else names


def _missing_link(row: Row, rows: Sequence[Row]) -> str:
    return str(ancestry(row, rows)[-1].experiment.get("parent"))


def _gain(one: Candidate) -> float:
    return float("-inf") if one.gain.estimate is None else one.gain.estimate


def _factors(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    line = reversed(ancestry(row, rows))
    keys = [key for step in line for key in step.experiment.get("factors") or []]
    return tuple(dict.fromkeys(keys))


def _baseline(study: Study, rows: Sequence[Row]) -> Row:
    """The only experiment without parent.

    Raises:
        ValueError: there is none that has finished, or there are several.
    """
    roots = [row for row in rows if not row.experiment.get("parent")]
    if len(roots) > 1:
        names = ", ".join(row.title for row in roots)
        raise ValueError(
            f"The study '{study.name}' has several experiments without parent ({names}), so there "
            "is no one baseline to combine on."
        )
    if not roots or not roots[0].finished:
        raise ValueError(
            f"The baseline of the study '{study.name}' has not finished, so nothing can be "
            f"compared with it. `lab.py run {study.family}` runs what is missing."
        )
    return roots[0]
