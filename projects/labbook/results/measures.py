"""What a run's curves say: how fast, how steadily and how long it learned.

A curve is a series of finite values, its index the steps, which count from 0 and rise. Every
measure gives its value, or None with the reason why it is not defined for this curve.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pandas import Series

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
_LEAST = 20  # values that a 95th percentile needs


class Measure(NamedTuple):
    """A number read off a curve, or why there is none."""

    value: float | None
    reason: str = ""


def steps_to_converge(scores: Series) -> Measure:
    """Steps until a score first reached 90 % of its best."""
    if scores.empty:
        return Measure(None, "no score yet")
    if scores.max() <= 0:
        return Measure(None, "no score above 0")
    return Measure(int((scores >= CONVERGED * scores.max()).idxmax()) + 1)


def plateau_step(scores: Series) -> Measure:
    """Steps after which the best score so far rose by less than 0.5 points until the end.

    None while it still rises: less than a tenth of the run lies behind that step.
    """
    if scores.empty:
        return Measure(None, "no score yet")
    step = int((scores.max() - scores < FLAT).idxmax())
    first, last = scores.index[[0, -1]]
    if last - step < max(FLAT_SHARE * (last - first), 1):
        return Measure(None, "still rising")
    return Measure(step + 1)


def oscillation(losses: Series) -> Measure:
    """How much a loss swings about its trend in the second half of the curve, as a share of it.

    The median absolute deviation of log(loss) from its moving median over 11 logged values. It
    does not depend on the scale of the loss, nor on its trend, nor on the steps of the schedule.
    (The log holds medians over 20 steps where it is written that often.)
    """
    half = losses.to_numpy()[len(losses) // 2 :]
    if len(losses) < 4 * WINDOW:
        return Measure(None, f"fewer than {4 * WINDOW} logged losses")
    if half.min() <= 0:
        return Measure(None, "a loss is not above 0")
    logs = np.log(half)
    return Measure(float(np.median(np.abs(logs - moving_median(logs, WINDOW)))))


def gradient_stability(norms: Series, warmup: int = 0) -> Measure:
    """Ratio of the 95th percentile of the gradient norm to its median, after the warm-up.

    1 is perfectly even; large values are bursts.

    Args:
        norms: the curve, before clipping.
        warmup: steps to leave out.
    """
    values = norms[norms.index >= warmup]
    if len(values) < _LEAST:
        return Measure(None, f"fewer than {_LEAST} logged norms after the warm-up")
    if values.median() <= 0:
        return Measure(None, "the median norm is 0")
    return Measure(float(values.quantile(0.95) / values.median()))


def overfitting_step(losses: Series, scores: Series) -> Measure:
    """Steps at the minimum of a validation loss that rises by more than 2 % after it and stays up.

    The loss is smoothed by a median over 3 evaluations; risen means that the last three all lie
    more than 2 % above the minimum. Where the best score grew since by 0.5 points or more, it is
    no overfitting: a cascade's loss also rises as its first stages find more for the later ones.

    Args:
        losses: on valid.
        scores: on valid, in percent.
    """
    if len(losses) < 2 * SMOOTHING:
        return Measure(None, f"fewer than {2 * SMOOTHING} validation losses")
    smooth = moving_median(losses.to_numpy(), SMOOTHING)
    if smooth.min() <= 0:
        return Measure(None, "a loss is not above 0")
    if smooth[-SMOOTHING:].min() <= (1 + RISE) * smooth.min():
        return Measure(None, "not seen")
    lowest = int(losses[smooth == smooth.min()].idxmin())
    if scores.max() - scores[scores.index <= lowest].max() >= FLAT:
        return Measure(None, "not seen")
    return Measure(lowest + 1)


def moving_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median over ``window`` (odd) values around each; near an end over fewer, still centred."""
    half, last = window // 2, len(values) - 1
    reach = [min(half, index, last - index) for index in range(len(values))]
    return np.array([np.median(values[i - r : i + r + 1]) for i, r in enumerate(reach)])
