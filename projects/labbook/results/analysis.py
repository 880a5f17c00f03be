"""How the runs of a study learned, factor by factor, from their logs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labbook.config.studies import Study
from labbook.results.comparison import Row, declared_metric, group_runs, parent_of
from labbook.results.curves import (
    Measure,
    curve_of,
    gradient_stability,
    oscillation,
    overfitting_step,
    plateau_step,
    steps_to_converge,
)
from labbook.results.runs import read_runs
from runfolder.run import Run


@dataclass(frozen=True)
class Analysed:
    """One run, finished or not, and what its curves say."""

    row: Row
    run: Run
    metric: str
    """Key of the score whose curve is read."""

    @property
    def title(self) -> str:
        """The experiment, with the seed where there are several and the status if unfinished."""
        parts = [self.row.title]
        if len(self.row.runs) > 1:
            parts.append(f"seed {self.run.seed}")
        if not self.run.is_finished:
            parts.append(f"({self.run.status})")
        return " ".join(parts)

    @property
    def batch(self) -> int | None:
        """Images per optimisation step."""
        return self._setting("total_batch_size")

    @property
    def micro_batch(self) -> int | None:
        """Images in memory at once, in one process."""
        return self._setting("micro_batch_size")

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """By name; steps count from 1, times are in seconds, memory in MiB."""
        scores, losses, validation, norms, times, memory = (
            curve_of(self._lines, key)[0]
            for key in (
                self.metric, "total_loss", "validation/total_loss", "grad_norm", "time", "memory_mb"
            )
        )  # fmt: skip
        seconds = _of_values(times, statistics.median)
        return {
            "steps_to_converge": steps_to_converge(scores),
            "oscillation": oscillation(losses),
            "gradient_stability": gradient_stability(norms, self._setting("warmup_iters") or 0),
            "overfitting_step": overfitting_step(validation),
            "plateau_step": plateau_step(scores),
            "seconds_per_iteration": seconds,
            "images_per_second": self._per_second(seconds),
            "peak_memory_mb": _of_values(memory, max),
        }

    @cached_property
    def not_finite(self) -> int:
        """Logged losses that were NaN or infinite."""
        return curve_of(self._lines, "total_loss")[1]

    @property
    def steps(self) -> int:
        """Steps that the log covers."""
        curve, _ = curve_of(self._lines, "total_loss")
        return curve[-1][0] + 1 if curve else 0

    def epoch(self, step: float) -> int | None:
        """The epoch that ends at or after ``step``; None of a run that is counted in steps."""
        length = self._setting("iterations_per_epoch")
        return None if self.row.counts_steps or not length else math.ceil(step / length)

    @cached_property
    def _lines(self) -> list[dict[str, Any]]:
        return self.run.metrics()

    def _per_second(self, seconds: Measure) -> Measure:
        if seconds.value is None or not self.batch:
            return Measure(None, seconds.reason or "the batch size is not known")
        return Measure(self.batch / seconds.value) if seconds.value else Measure(None, "no time")

    def _setting(self, key: str) -> Any:
        return (self.run.config.get("train") or {}).get(key)


@dataclass(frozen=True)
class Section:
    """The levels of one factor, after the experiment that they change."""

    title: str
    runs: Sequence[Analysed]


@dataclass(frozen=True)
class Analysis:
    """All runs of a study by the factor that they move."""

    study: Study
    metric: str
    sections: Sequence[Section]

    @property
    def runs(self) -> list[Analysed]:
        """Every run once, in the order of the sections."""
        found = {item.run.folder: item for section in self.sections for item in section.runs}
        return list(found.values())

    def by_batch(self) -> list[Analysed]:
        """Every run in the order of the batch size; empty unless there are two sizes."""
        known = [item for item in self.runs if item.batch]
        if len({(item.batch, item.micro_batch) for item in known}) < 2:
            return []
        return sorted(known, key=lambda item: (item.batch or 0, item.micro_batch or 0))


def analyse(study: Study, root: Path) -> Analysis:
    """Read the logs of all runs of a study, finished or not.

    Raises:
        ValueError: there are none.
    """
    runs, damaged = read_runs(study, root)
    rows = [row for row in group_runs(study, runs, (), damaged) if row.runs]
    if not rows:
        raise ValueError(
            f"The study '{study.name}' has no runs in {study.work_folder} yet; "
            f"`lab.py run {study.family}` makes some."
        )
    metric = declared_metric(rows)
    items = {id(row): [Analysed(row, run, metric) for run in row.runs] for row in rows}
    return Analysis(study, metric, list(_sections(rows, items)))


def _sections(rows: Sequence[Row], items: Mapping[int, Sequence[Analysed]]) -> Iterator[Section]:
    """One for each set of factors moved from the same parent, then what belongs to none."""
    by_factor: dict[tuple[str, str], list[Row]] = {}
    references: dict[tuple[str, str], Row | None] = {}
    for row in rows:
        factors = row.experiment.get("factors") or []
        if factors:
            place = (", ".join(factors), row.experiment.get("parent") or "")
            by_factor.setdefault(place, []).append(row)
            references[place] = parent_of(row, rows)
    used = {id(row) for row in references.values()}
    alone = [row for row in rows if not row.experiment.get("factors") and id(row) not in used]
    for (factors, parent), moved in by_factor.items():
        reference = references[factors, parent]
        title = f"bundle: {factors}" if ", " in factors else factors
        shown = [*([reference] if reference else []), *sorted(moved, key=_by_level)]
        yield Section(title, [item for row in shown for item in items[id(row)]])
    if alone:
        yield Section("no factor", [item for row in alone for item in items[id(row)]])


def _by_level(row: Row) -> tuple[bool, float]:
    """Numbers rising, then the rest in the order of the plan."""
    level = row.experiment.get("level")
    is_number = isinstance(level, int | float)
    return not is_number, float(level) if is_number else 0.0


def _of_values(curve: Sequence[tuple[int, float]], choose: Any) -> Measure:
    values = [value for _, value in curve]
    return Measure(choose(values)) if values else Measure(None, "not logged")


def reasons(measures: Mapping[str, Measure]) -> str:
    """Why measures are missing, as ``plateau_step: still rising``."""
    return "; ".join(f"{name}: {found.reason}" for name, found in measures.items() if found.reason)
