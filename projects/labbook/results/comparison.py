"""Which runs are one experiment, which experiments may be compared, and by how much they differ."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from labbook.config.experiment import verdict
from labbook.config.resume import is_measured
from labbook.config.signatures import MISSING
from labbook.config.studies import Study
from labbook.config.trees import flatten
from runfolder.run import Run

SPLITS = ("valid", "test")
DEFAULT_METRIC = "bbox/AP"


class Summary(NamedTuple):
    """A number over the seeds of an experiment; None where there are too few."""

    mean: float | None
    spread: float | None
    """Sample standard deviation; None with fewer than two."""
    count: int


def summarise(values: Iterable[float | None]) -> Summary:
    """Mean and spread of what is there; NaN counts as missing."""
    known = [float(value) for value in values if value is not None and not math.isnan(value)]
    mean = statistics.fmean(known) if known else None
    return Summary(mean, statistics.stdev(known) if len(known) > 1 else None, len(known))


@dataclass(frozen=True)
class Row:
    """One experiment: its runs, which differ by the seed alone. None yet, or one is usual."""

    name: str
    runs: tuple[Run, ...] = ()
    label: str = ""
    """Name of the run folder where the name of the experiment would not tell it apart."""
    damage: str = ""
    """Why its folder cannot be read."""

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that came to their end; the others have no numbers."""
        return tuple(run for run in self.runs if run.is_finished)

    @property
    def experiment(self) -> Mapping[str, Any]:
        """What the config declares; empty before the first run."""
        return self.runs[0].experiment if self.runs else {}

    @property
    def title(self) -> str:
        """The name, with the folder where that is another one."""
        return f"{self.name} ({self.label})" if self.label else self.name

    @property
    def counts_steps(self) -> bool:
        """Whether the length of a run is set in steps, not in epochs."""
        train = (self.runs[0].config.get("train") if self.runs else None) or {}
        return train.get("epochs") == 0

    def score(self, split: str, key: str) -> Summary:
        """A score over the seeds, AP in percent."""
        return summarise(run.score(split, key) for run in self.finished)

    def measure(self, key: str) -> Summary:
        """Another number of ``results.json`` over the seeds, as ``training_seconds``."""
        return summarise(_number(run.results, key) for run in self.finished)

    def ema_score(self, split: str, key: str) -> Summary:
        """The same of the averaged weights, where the run kept such."""
        averages = (run.results.get("ema") or {} for run in self.finished)
        return summarise((scores.get(split) or {}).get(key) for scores in averages)

    def parameters(self, kind: str) -> int | None:
        """Number of parameters of a kind, ``trainable`` or ``frozen``; no seed changes it."""
        counts = [(run.results.get("parameters") or {}).get(kind) for run in self.finished]
        return counts[0] if counts else None

    def targets(self) -> list[str]:
        """Each declared target with whether the mean over seeds meets it; AP counts on valid."""
        declared = self.experiment.get("targets") or {}
        return [
            verdict(name, self._reached(name), target)
            if isinstance(target, int | float)
            else f"{name}: UNKNOWN, its target {target!r} is no number"
            for name, target in declared.items()
        ]

    def _reached(self, name: str) -> float | None:
        on_valid = self.score("valid", name).mean
        return self.measure(name).mean if on_valid is None else on_valid


def group_runs(
    study: Study, runs: Iterable[Run], names: Iterable[str], damaged: Mapping[Path, str]
) -> list[Row]:
    """Rows of a study in the order of its plan.

    Runs of one experiment are one row if their configs differ by the seed alone; one with other
    overrides, or with a seed that is there already, is a row of its own, labelled with its folder.

    Args:
        study: the study.
        runs: its runs.
        names: of experiments that get a row even without a run.
        damaged: folders that cannot be read, with the reason.
    """
    rows: list[Row] = []
    for run in sorted(runs, key=_usual_folder_first):
        place = next((i for i, row in enumerate(rows) if _is_repetition(run, row)), None)
        if place is None:
            folder = run.folder.name
            rows.append(Row(run.name, (run,), "" if folder == run.name else folder))
        else:
            rows[place] = Row(run.name, (*rows[place].runs, run), rows[place].label)
    rows += [Row(path.name, damage=reason or "damaged") for path, reason in damaged.items()]
    known = {row.name for row in rows}
    rows += [Row(name) for name in names if name not in known]
    return sorted(rows, key=lambda row: study.place(row.name))


def ancestry(row: Row, rows: Sequence[Row]) -> list[Row]:
    """``row``, its parent, and so on up to the baseline or the first that is not among ``rows``."""
    first = {other.name: other for other in reversed(rows)}
    found, seen, name = [row], {row.name}, row.experiment.get("parent")
    while name in first and name not in seen:
        found.append(first[name])
        seen.add(name)
        name = first[name].experiment.get("parent")
    return found


def baseline_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The experiment without parent that ``row`` descends from; None if it is its own.

    Where a link is missing, the only experiment without parent; None if there are several.
    """
    last = ancestry(row, rows)[-1]
    if last.runs and not last.experiment.get("parent"):
        root = next(other for other in rows if other.name == last.name)
    else:
        roots = [r for r in rows if r.runs and not r.experiment.get("parent") and not r.label]
        root = roots[0] if len(roots) == 1 else None
    return None if root is row else root


def parent_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The experiment that ``row`` changes, if it is among ``rows``."""
    return next((other for other in ancestry(row, rows)[1:]), None)


def declared_metric(rows: Iterable[Row]) -> str:
    """The score by which checkpoints are chosen (``train.best_metric``)."""
    declared = (_metric_of(run) for row in rows for run in row.runs)
    return next((name for name in declared if name), DEFAULT_METRIC)


def seed_differences(candidate: Row, reference: Row, split: str, key: str) -> list[float]:
    """Differences of a score between runs of the same seed, AP in points."""
    scores = {run.seed: run.score(split, key) for run in reference.finished}
    pairs = ((run.score(split, key), scores.get(run.seed)) for run in candidate.finished)
    return [new - old for new, old in pairs if new is not None and old is not None]


def _is_repetition(run: Run, row: Row) -> bool:
    if row.name != run.name or run.seed in {other.seed for other in row.runs}:
        return False
    first = row.runs[0]
    before, after = flatten(first.config), flatten(run.config)
    changed = {
        key: (before.get(key, MISSING), after.get(key, MISSING))
        for key in before.keys() | after.keys()
        if before.get(key, MISSING) != after.get(key, MISSING)
    }
    return all(
        not is_measured(key) or (key.endswith("seed") and pair == (first.seed, run.seed))
        for key, pair in changed.items()
    )


def _usual_folder_first(run: Run) -> tuple[str, bool, int, str]:
    name = run.folder.name
    return run.name, name != run.name, len(name), name


def _metric_of(run: Run) -> str | None:
    return (run.config.get("train") or {}).get("best_metric")


def _number(results: Mapping[str, Any], key: str) -> float | None:
    value = results.get(key)
    return value if isinstance(value, int | float) else None
