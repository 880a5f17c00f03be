"""Measure reference and candidate in turn, in one process, and compare their medians.

Absolute times change with the machine and with whatever else it does; the ratios hold.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """Two ways to the same result."""

    name: str
    reference: Call
    candidate: Call
    required: float | None = None
    """The least ratio of their times that is wanted; None if it is only reported."""
    rounds: int = 7


@dataclass(frozen=True)
class Fact:
    """A measured number that is no ratio of times."""

    name: str
    value: float
    unit: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name:44} {self.value:,.6g} {self.unit}   {self.note}"


@dataclass(frozen=True)
class Timing:
    """Medians over the rounds; ``ratio`` is the median of the rounds' own ratios."""

    name: str
    reference_ms: float
    candidate_ms: float
    ratio: float
    spread: float
    """Of the ratios: third quartile over first. Near 1 on a quiet machine."""
    required: float | None

    def __str__(self) -> str:
        wanted = "" if self.required is None else f"   wanted {self.required:g}: {self._verdict()}"
        times = f"{self.reference_ms:10.2f} ms {self.candidate_ms:10.2f} ms"
        return f"{self.name:44} {times} {self.ratio:8.2f} x (spread {self.spread:.2f}){wanted}"

    def _verdict(self) -> str:
        return "reached" if self.required is None or self.ratio >= self.required else "MISSED"


def measure(case: Case) -> Timing:
    """Time both calls in turn, after one call each to warm up."""
    seconds: list[list[float]] = [[], []]
    for turn in range(case.rounds + 1):
        for times, call in zip(seconds, (case.reference, case.candidate), strict=True):
            start = time.perf_counter()
            call()
            if turn:
                times.append(time.perf_counter() - start)
    ratios = sorted(a / b for a, b in zip(*seconds, strict=True))
    reference, candidate = (1000 * statistics.median(times) for times in seconds)
    quarter = len(ratios) // 4
    spread = ratios[-1 - quarter] / ratios[quarter]
    return Timing(case.name, reference, candidate, statistics.median(ratios), spread, case.required)


def as_row(part: str, result: Timing | Fact) -> dict[str, Any]:
    """For the JSON file."""
    return {"part": part, **asdict(result)}
