"""From the experiments of a study to the runs that they need: one for each seed."""

from __future__ import annotations

import copy
import dataclasses
import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from labbook.config.lineage import Family
from labbook.config.load import ConfigError
from labbook.config.overrides import apply_overrides, assignment
from labbook.run.processes import Processes


@dataclass(frozen=True)
class Job:
    """One run of one experiment, ready to start."""

    name: str
    """Of the config; with ``_seed2`` and so on for further seeds."""
    config_file: Path
    folder: Path
    cfg: DictConfig
    train_script: str
    overrides: tuple[str, ...] = ()

    def command(self, processes: Processes | None = None) -> list[str]:
        """What starts it, or goes on with it; in one process by default."""
        python = (processes or Processes()).python()
        config = ["--config-file", str(self.config_file)]
        return [*python, self.train_script, *config, "--resume", *self.overrides]

    @property
    def is_on_cpu(self) -> bool:
        """Whether its config leaves GPUs alone."""
        return self.cfg.train.get("device", "auto") == "cpu"


def plan_jobs(
    family: Family, config_names: Iterable[str], train_script: str, seeds: int = 1
) -> list[Job]:
    """Load every config and find its run folders, before anything is started.

    Args:
        family: the configs of a study, with the overrides that hold for all of them.
        config_names: the experiments of it that are wanted.
        train_script: what trains a config.
        seeds: runs of each experiment. The first has the config's own seed and folder; number k
            has the seed + k - 1 and the folder with ``_seed<k>`` behind its name. All experiments
            come with their first seed before any comes with its second.

    Raises:
        ConfigError: a config or an override is wrong, or two experiments share a run folder.
    """
    root, overrides = family.root, tuple(family.overrides)
    first = []
    for name in config_names:
        cfg, file = family.load(name), family.paths[family.study.run_name(name)]
        first.append(Job(name, file, root / cfg.train.output_dir, cfg, train_script, overrides))
    by_folder: dict[Path, str] = {}
    for job in first:
        other = by_folder.setdefault(job.folder, job.name)
        if other != job.name:
            raise ConfigError(
                f"{other} and {job.name} have the same train.output_dir, {job.folder}. Give it for "
                "one experiment at a time."
            )
    return first + [_with_seed(job, k, root) for k in range(2, seeds + 1) for job in first]


def seed_folders(first: Path) -> list[Path]:
    """The run folder of an experiment's first seed, there or not, and those of further seeds."""
    found = {}
    for folder in first.parent.glob(f"{glob.escape(first.name)}_seed*"):
        number = folder.name.removeprefix(f"{first.name}_seed")
        if number.isdigit() and folder.is_dir():
            found[int(number)] = folder
    return [first, *(found[number] for number in sorted(found))]


def _with_seed(job: Job, number: int, root: Path) -> Job:
    """The same experiment with its seed number ``number``, counted from 1."""
    train = job.cfg.train
    if train.get("seed") is None:
        raise ConfigError(f"{job.name} has no train.seed, so it has no further seeds to run.")
    folder = f"{train.output_dir}_seed{number}"
    changes = (f"train.seed={train.seed + number - 1}", assignment("train.output_dir", folder))
    cfg = copy.deepcopy(job.cfg)
    apply_overrides(cfg, changes)
    return dataclasses.replace(
        job,
        name=f"{job.name}_seed{number}",
        folder=root / folder,
        cfg=cfg,
        overrides=(*job.overrides, *changes),
    )
