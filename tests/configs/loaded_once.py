"""Configs loaded once in a process, however many modules ask for them: a load takes 0.2 s."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from labbook.config import load
from labbook.config.lineage import Family


@cache
def _loaded(path: Path, overrides: tuple[str, ...]) -> DictConfig:
    return load.load_config(path, overrides)


def load_config(path: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """As the real one, of a file that stays as it is; a copy, which a test may change."""
    return pickle.loads(pickle.dumps(_loaded(path, tuple(overrides))))  # a third of deepcopy's time


@dataclass
class SharedFamily(Family):
    """As its base, for configs that no test changes."""

    def load(self, name: str, overrides: Sequence[str] | None = None) -> DictConfig:
        words = self.overrides if overrides is None else overrides
        return _loaded(self.root / self.paths[self.study.run_name(name)], tuple(words))
