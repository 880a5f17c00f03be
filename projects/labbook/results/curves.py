"""What a run's curves say: how fast, how steadily and how long it learned.

A curve is a list of (step, value), steps from 0 and rising. Every measure gives its value, or None
with the reason why it is not defined for this curve.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Curve = Sequence[tuple[int, float]]

CONVERGED = 0.9
"""Share of the best score that counts as converged."""
FLAT = 0.5
"""Points of AP; less improvement than that is none."""
FLAT_SHARE = 0.1
"""Part of the run that must lie behind a plateau."""
RISE = 0.02
"""Share above its minimum at which a validation loss counts as risen."""
WINDOW = 11
"""Logged values that the trend of a loss is the median of."""
SMOOTHING = 3
"""Evaluations that a validation loss is the median of."""


class Measure(NamedTuple):
    """A number read off a curve, or why there is none."""

    value: float | None
    reason: str = ""


def curve_of(lines: Iterable[Mapping[str, Any]], key: str) -> tuple[list[tuple[int, float]], int]:
    """The values of ``key`` in the lines of ``metrics.json`` by step, and how many are not finite.

    Of a step that was logged twice the last counts.
    """
    found: dict[int, float] = {}
    broken = 0
    for line in lines:
        step, value = line.get("iteration"), line.get(key, math.inf)
        if not isinstance(step, int) or key not in line:
            continue
        if isinstance(value, int | float) and math.isfinite(value):
            found[step] = float(value)
        else:
            broken += 1
    return sorted(found.items()), broken


def steps_to_converge(scores: Curve) -> Measure:
    """Steps until a score first reached 90 % of its best."""
    if not scores:
        return Measure(None, "no score yet")
    best = max(value for _, value in scores)
    if best <= 0:
        return Measure(None, "no score above 0")
    return Measure(next(step + 1 for step, value in scores if value >= CONVERGED * best))


def plateau_step(scores: Curve) -> Measure:
    """Steps after which the best score so far rose by less than 0.5 points until the end.

    None while it still rises: less than a tenth of the run lies behind that step.
    """
    if not scores:
        return Measure(None, "no score yet")
    best = max(value for _, value in scores)
    step = next(step for step, value in scores if best - value < FLAT)
    first, last = scores[0][0], scores[-1][0]
    if last - step < max(FLAT_SHARE * (last - first), 1):
        return Measure(None, "still rising")
    return Measure(step + 1)


def oscillation(losses: Curve) -> Measure:
    """How much a loss swings about its trend in the second half of the curve, as a share of it.

    The median absolute deviation of log(loss) from its moving median over 11 logged values. It
    does not depend on the scale of the loss, nor on its trend, nor on the steps of the schedule.
    (The log holds medians over 20 steps where it is written that often.)
    """
    half = [value for _, value in losses[len(losses) // 2 :]]
    if len(losses) < 4 * WINDOW:
        return Measure(None, f"fewer than {4 * WINDOW} logged losses")
    if min(half) <= 0:
        return Measure(None, "a loss is not above 0")
    logs = [math.log(value) for value in half]
    trend = moving_median(logs, WINDOW)
    return Measure(
        statistics.median(abs(value - middle) for value, middle in zip(logs, trend, strict=True))
    )


def gradient_stability(norms: Curve, warmup: int = 0) -> Measure:
    """Ratio of the 95th percentile of the gradient norm to its median, after the warm-up.

    1 is perfectly even; large values are bursts.

    Args:
        norms: the curve, before clipping.
        warmup: steps to leave out.
    """
    values = sorted(value for step, value in norms if step >= warmup)
    if len(values) < _LEAST:
        return Measure(None, f"fewer than {_LEAST} logged norms after the warm-up")
    middle = statistics.median(values)
    if middle <= 0:
        return Measure(None, "the median norm is 0")
    return Measure(statistics.quantiles(values, n=20, method="inclusive")[-1] / middle)


def overfitting_step(losses: Curve) -> Measure:
    """Steps at the minimum of a validation loss that rises by more than 2 % after it and stays up.

    The loss is smoothed by a median over 3 evaluations; risen means that the last three all lie
    more than 2 % above the minimum.
    """
    if len(losses) < 2 * SMOOTHING:
        return Measure(None, f"fewer than {2 * SMOOTHING} validation losses")
    smooth = moving_median([value for _, value in losses], SMOOTHING)
    lowest = min(smooth)
    if lowest <= 0:
        return Measure(None, "a loss is not above 0")
    if min(smooth[-SMOOTHING:]) <= (1 + RISE) * lowest:
        return Measure(None, "not seen")
    at = min(range(len(losses)), key=lambda index: (smooth[index], losses[index][1]))
    return Measure(losses[at][0] + 1)


def moving_median(values: Sequence[float], window: int) -> list[float]:
    """Median over ``window`` (odd) values around each; near an end over fewer, still centred."""
    half, last = window // 2, len(values) - 1
    reach = [min(half, index, last - index) for index in range(len(values))]
    return [statistics.median(values[index - r : index + r + 1]) for index, r in enumerate(reach)]


_LEAST = 20  # values that a 95th percentile needs
