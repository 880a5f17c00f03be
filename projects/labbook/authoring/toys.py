"""Toy size without losing what an experiment asks."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from labbook.config.trees import below, select, written

_DATA = ("dataset",)
"""Toy data stay where they are, whatever an experiment does with the real ones."""


def move_factors(toy: DictConfig, real: DictConfig, baseline: DictConfig) -> None:
    """Move, in ``toy``, the factors of ``real`` that toy size holds where ``baseline`` has them.

    They get the real level; a count of steps or epochs, which would take long, gets one more.

    Args:
        toy: an experiment at toy size; changed in place.
        real: the same at full size.
        baseline: its baseline at toy size.
    """
    for key in real.experiment.get("factors") or ():
        fixed = OmegaConf.select(baseline, key)
        if OmegaConf.select(toy, key) != fixed or below(key, _DATA):
            continue
        level: Any = select(written(real), key)
        is_count = below(key, ("train",)) and type(level) is type(fixed) is int
        OmegaConf.update(toy, key, fixed + 1 if is_count else level)
