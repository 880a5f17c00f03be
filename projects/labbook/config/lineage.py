"""An experiment with its parent, the parent's parent and so on, up to the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from omegaconf import DictConfig

from labbook.called import lab
from labbook.config.load import ConfigError, load_config
from labbook.config.signatures import nearest
from labbook.config.studies import Study, config_names, find_experiments, find_studies
from labbook.config.trees import below


@dataclass
class Family:
    """The configs of a study, each loaded once, all with the same overrides."""

    study: Study
    root: Path
    overrides: Sequence[str] = ()
    _loaded: dict[tuple[str, tuple[str, ...]], DictConfig] = field(default_factory=dict)

    @cached_property
    def paths(self) -> Mapping[str, Path]:
        """Config files by run name, relative to the root."""
        found = find_experiments(self.study, self.root)
        return {self.study.run_name(name): path for name, path in found.items()}

    def load(self, name: str, overrides: Sequence[str] | None = None) -> DictConfig:
        """The config of this config name or run name, checked strictly.

        Args:
            name: of the experiment.
            overrides: instead of those of the family.
        """
        words = tuple(self.overrides if overrides is None else overrides)
        key = (self.study.run_name(name), words)
        if key not in self._loaded:
            self._loaded[key] = load_config(self.root / self.paths[key[0]], words)
        return self._loaded[key]

    def parent(self, cfg: DictConfig) -> DictConfig | None:
        """The parent's config, or None of a baseline.

        It gets the same overrides, except those below a factor that it cannot take, as the
        momentum of a child's own optimizer.

        Raises:
            ConfigError: the study has no experiment of the parent's name, or it does not load.
        """
        experiment = cfg.experiment
        if experiment.parent is None:
            return None
        if experiment.parent not in self.paths:
            raise ConfigError(
                f"{experiment.name}: experiment.parent is '{experiment.parent}', but the study "
                f"{self.study.name} has no such experiment."
                + nearest(experiment.parent, self.paths)
            )
        try:
            return self.load(experiment.parent)
        except ConfigError:
            others = [o for o in self.overrides if not below(override_key(o), experiment.factors)]
            return self.load(experiment.parent, others)

    def ancestors(self, cfg: DictConfig) -> list[DictConfig]:
        """Parent, its parent, ... and at last the baseline; empty for a baseline.

        Raises:
            ConfigError: as :meth:`parent`, or the parents go round in a circle.
        """
        line, names = [], [cfg.experiment.name]
        parent = self.parent(cfg)
        while parent is not None:
            names.append(parent.experiment.name)
            if names.count(names[-1]) > 1:
                raise ConfigError(
                    f"The parents go round in a circle: {' -> '.join(names)}. One of them is a "
                    "baseline and has no parent."
                )
            line.append(parent)
            parent = self.parent(parent)
        return line


def find_experiment(
    name: str, root: Path, debug: bool = False, overrides: Sequence[str] = ()
) -> tuple[Family, str]:
    """The configs of the study that has an experiment, and the experiment's run name.

    Args:
        name: config name or run name, as ``ofat_lr0.01_bs8_adamw_ep100``.
        root: the project's root folder.
        debug: look among the studies of toy size, else among the others.
        overrides: ``key=value`` for all configs.

    Raises:
        ValueError: no study has it; the nearest name is said.
    """
    known: dict[str, tuple[Study, str]] = {}
    for study in find_studies(root).values():
        for config_name in config_names(study, root) if study.is_debug is debug else ():
            found = study, study.run_name(config_name)
            known.setdefault(config_name, found)
            known.setdefault(found[1], found)
    if name not in known:
        raise ValueError(
            f"There is no experiment '{name}'{' at toy size' if debug else ''}."
            f"{nearest(name, known)} `{lab('list STUDY')}` shows those of a study."
        )
    study, run_name = known[name]
    return Family(study, root, overrides), run_name


def override_key(override: str) -> str:
    """The dotted key that a ``key=value`` sets."""
    return override.partition("=")[0].lstrip("+")
