"""A power law through measured times, t = c * n ** e, by least squares of the logarithms.

Small inputs pay fixed costs that say nothing about growth, so the exponent is taken from the upper
half of the range, halved on the logarithmic axis: from two sizes at least.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runfolder.files import read_json, write_json

IN_PROPORTION = 0.05  # an exponent this close to 1 is called 1


class Line(NamedTuple):
    """Times of one thing at several sizes."""

    sizes: list[float]  # ascending
    samples_ms: list[list[float]]  # of each size, one a round

    @property
    def medians_ms(self) -> list[float]:
        return [float(np.median(samples)) for samples in self.samples_ms]


Results = dict[str, dict[str, Line]]  # by name of the curve, then of the line


class Fit(NamedTuple):
    """t = factor * n ** exponent, with t in ms."""

    exponent: float
    spread: float  # see ``_spread``
    factor: float
    start: float  # smallest size that was fitted

    def at(self, size: float) -> float:
        """Milliseconds at ``size``."""
        return self.factor * size**self.exponent


def fitted(line: Line) -> Fit:
    """The power law of the medians, over the upper half of the range; see the top of the file.

    Raises:
        ValueError: fewer than two sizes, sizes or times that are not above 0, sizes out of order,
            or sizes with other numbers of samples than the rest.
    """
    _check(line)
    first = _first_fitted(line.sizes)
    upper = Line(line.sizes[first:], line.samples_ms[first:])
    exponent, factor = power_law(upper.sizes, upper.medians_ms)
    return Fit(exponent, _spread(upper), factor, upper.sizes[0])


def power_law(sizes: Sequence[float], times: Sequence[float]) -> tuple[float, float]:
    """Exponent and factor of the straight line through the logarithms."""
    slope, offset = np.polyfit(np.log(sizes), np.log(times), 1)
    return float(slope), math.exp(offset)


def in_words(fit: Fit, thing: str) -> str:
    """What the exponent means for somebody who doubles ``thing``, such as "length"."""
    off = round(fit.exponent, 2) - 1  # as it is shown
    if abs(off) <= IN_PROPORTION + 1e-9:
        verdict = "in proportion"
    elif abs(off) <= fit.spread:
        verdict = "in proportion within the spread"
    else:
        verdict = f"{'more' if off > 0 else 'less'} than in proportion"
    return f"Twice the {thing} costs {2**fit.exponent:.2f} times the time: {verdict}."


def short(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:,.3g}" if number < 100 else f"{number:,.0f}"


def load(path: Path, machine: Mapping[str, Any]) -> Results:
    """Curves measured earlier on the same ``machine``; those of another one are left out.

    Raises:
        ValueError: the file is no record.
    """
    stored = read_json(path) or {}
    if stored.get("machine") != machine:
        return {}
    return {
        name: {label: Line(kept["sizes"], kept["samples_ms"]) for label, kept in lines.items()}
        for name, lines in stored["curves"].items()
    }


def save(path: Path, machine: Mapping[str, Any], results: Results) -> None:
    """Write samples and fits, with what they were measured on.

    Raises:
        ValueError: a line that cannot be fitted.
    """
    curves = {
        name: {label: {**line._asdict(), **fitted(line)._asdict()} for label, line in one.items()}
        for name, one in results.items()
    }
    write_json(path, {"machine": machine, "curves": curves})


def _spread(line: Line) -> float:
    """How sure the exponent is: the larger of two measures, one of noise and one of bends.

    Half the quartile distance of the exponents of the single rounds; and the standard error of the
    slope through the medians, which says how far they are from a straight line (with two sizes they
    lie on one).
    """
    rounds = [power_law(line.sizes, times)[0] for times in zip(*line.samples_ms, strict=True)]
    low, high = np.quantile(rounds, [0.25, 0.75])
    x, y = np.log(line.sizes), np.log(line.medians_ms)
    off = y - np.polyval(np.polyfit(x, y, 1), x)
    freedom = len(x) - 2
    error = math.sqrt(sum(off**2) / freedom / sum((x - x.mean()) ** 2)) if freedom else 0.0
    return max(float(high - low) / 2, error)


def _first_fitted(sizes: Sequence[float]) -> int:
    middle = math.sqrt(sizes[0] * sizes[-1])
    # A little below, so that rounding does not decide about a size in the very middle.
    upper = next(i for i, size in enumerate(sizes) if size >= 0.999 * middle)
    return min(upper, len(sizes) - 2)


def _check(line: Line) -> None:
    if len(line.sizes) < 2:
        raise ValueError(
            f"An exponent needs two sizes at least, and there is {len(line.sizes)}; measure more."
        )
    if not all(0 < size < math.inf for size in line.sizes):
        raise ValueError(f"Sizes must be above 0 and finite to be fitted; these are {line.sizes}.")
    if sorted(set(line.sizes)) != list(line.sizes):
        raise ValueError(f"Sizes must ascend and differ; these are {line.sizes}.")
    counts = {len(samples) for samples in line.samples_ms}
    if len(line.samples_ms) != len(line.sizes) or len(counts) != 1 or counts == {0}:
        raise ValueError("Every size needs the same number of samples, one at least.")
    for size, samples in zip(line.sizes, line.samples_ms, strict=True):
        if not all(0 < time < math.inf for time in samples):
            raise ValueError(
                f"A time at size {size:g} is not above 0 and finite ({min(samples):g} ms); the "
                "clock is too coarse for this call, or the measurement was cut short."
            )
