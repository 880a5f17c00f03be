"""Reference and candidates in turn, in one process: absolute times change, their ratios hold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

Call = Callable[[], object]
SAMPLE_SECONDS = 0.1  # a shorter call is repeated, so that what ran before matters little
WARM_SECONDS = 5.0  # a longer first call says enough


class Row(NamedTuple):
    """One comparison; medians, and the median of the ratios of neighbouring samples."""

    name: str
    reference_ms: float
    candidate_ms: float
    ratio: float  # how many times the reference's speed
    required: float
    noise: float  # quartile distance of the candidate's samples, as a fraction of their median
    goal: float = 0.0  # a ratio to be reached one day; 0: none beyond the required one

    @property
    def passed(self) -> bool:
        return self.ratio >= self.required


class Candidate(NamedTuple):
    call: Call
    required: float  # times the reference's speed: of the slowest machine seen, less 10 %
    goal: float = 0.0


def compare(reference: Call, candidates: Mapping[str, Candidate], rounds: int) -> list[Row]:
    """Measure ``reference`` and all ``candidates`` in turn, ``rounds`` times after a warm-up.

    Args:
        reference: what is to be beaten.
        candidates: by the name of their row.
        rounds: samples of each; three at least, for quartiles.
    """
    calls = {"": reference, **{name: candidate.call for name, candidate in candidates.items()}}
    repeats = {name: repeats_of(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(max(rounds, 3)):
        for name, call in calls.items():
            samples[name].append(sample(call, repeats[name]))
    base = samples.pop("")
    return [_row(name, base, times, candidates[name]) for name, times in samples.items()]


def _row(name: str, base: list[float], times: list[float], wanted: Candidate) -> Row:
    ratio = statistics.median(a / b for a, b in zip(base, times, strict=True))
    low, middle, high = statistics.quantiles(times, n=4)
    noise = (high - low) / middle
    return Row(name, statistics.median(base), middle, ratio, wanted.required, noise, wanted.goal)


def repeats_of(call: Call) -> int:
    """Calls in a sample; also warms up (caches, allocators, compilation)."""
    if sample(call, 1) > WARM_SECONDS * 1e3:
        return 1
    return max(1, round(SAMPLE_SECONDS / max(sample(call, 1) / 1e3, 1e-6)))


def sample(call: Call, repeats: int) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats * 1e3
