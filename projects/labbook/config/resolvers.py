"""What config files may work out inside ``${...}``, so that overrides and children stay true.

==============================================  ==================================================
``${iterations:EPOCHS,IMAGES,BATCH}``           epochs x ceil(images / batch), int
``${iterations_per_epoch:IMAGES,BATCH}``        ceil(images / batch), int
``${fraction_of:0.7,${train.max_iter}}``        the fraction of a count, rounded to int
``${ratio:A,B}``                                min(1, A / B), float
``${length:LIST}``                              number of entries, int
``${without_prefix:PREFIX,NAME}``               the name without ``PREFIX`` in front, if it has that
``${without_steps:NAME}``                       the name without a number of steps, as ``_100k``
==============================================  ==================================================

Importing this module registers them. It needs omegaconf only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sized
from typing import Any

from omegaconf import OmegaConf


def iterations_per_epoch(images: int, batch: int) -> int:
    """Optimisation steps that show each image once; the last batch may be smaller."""
    images = _positive_integer("iterations_per_epoch", "images", images)
    return math.ceil(images / _positive_integer("iterations_per_epoch", "batch", batch))


def iterations(epochs: int, images: int, batch: int) -> int:
    """Optimisation steps of a whole run."""
    return _positive_integer("iterations", "epochs", epochs) * iterations_per_epoch(images, batch)


def fraction_of(fraction: float, count: float) -> int:
    """``fraction`` (0 to 1) of ``count``, rounded to the nearest integer."""
    share = _number("fraction_of", "fraction", fraction)
    if not 0 <= share <= 1:
        raise ValueError(f"fraction_of needs a fraction between 0 and 1, but found {fraction!r}.")
    return round(share * _number("fraction_of", "count", count))


def ratio(numerator: float, denominator: float) -> float:
    """``numerator / denominator``, at most 1."""
    below = _number("ratio", "denominator", denominator)
    if below <= 0:
        raise ValueError(f"ratio needs a denominator above 0, but found {denominator!r}.")
    return min(1.0, _number("ratio", "numerator", numerator) / below)


def length(entries: Any) -> int:
    """Number of entries of a list or dict."""
    if isinstance(entries, str) or not isinstance(entries, Sized):
        raise ValueError(f"length needs a list or a dict, but found {entries!r}.")
    return len(entries)


def without_prefix(prefix: str, name: str) -> str:
    """``name`` without ``prefix`` in front, if it has that."""
    return name.removeprefix(prefix)


def without_steps(name: str) -> str:
    """``name`` without a number of steps, as ``_100k``, at its end or before another part."""
    return re.sub(r"_\d+k(?=_|$)", "", name)


def _number(resolver: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{resolver} needs a finite number as {name}, but found {value!r}.")
    return value


def _positive_integer(resolver: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{resolver} needs an integer of at least 1 as {name}, found {value!r}.")
    return value


for _function in (
    iterations_per_epoch,
    iterations,
    fraction_of,
    ratio,
    length,
    without_prefix,
    without_steps,
):
    OmegaConf.register_new_resolver(_function.__name__, _function, replace=True)
