"""Measure a few steps of each config of a study, at full size, on generated data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from labbook.config.load import ConfigError, to_plain
from labbook.config.overrides import assignment
from labbook.config.signatures import MISSING
from labbook.config.studies import Study
from labbook.config.trees import leaves, select
from labbook.plan.estimates import Cost, cost_so_far, step_key, store_cost
from labbook.run.jobs import Job
from labbook.run.short_runs import run_briefly
from runfolder.run import read_run

STEPS = 3  # the median of so many leaves out the first, which is slow
LIMIT_SECONDS = 3600.0
FOLDER = "work_dirs/debug/measure"

_GENERATED = {
    "smalldet.data.splits.CocoSplits": (
        "dataset.generate={{_target_: toydata.heads.GeneratedHeads, image_size: {image_size}, "
        "train: 8, valid: 1, test: 1}}",
        "train.images=8",
    ),
    "eventcam.dataset.EventRecordings": (
        "dataset.generate={{_target_: toydata.streets.GeneratedRecordings, train: 2, val: 1, "
        "test: 1, seconds: 1.0, width: 1280, height: 720}}",
    ),
}
"""Overrides that give a data set class generated data of the size of the real ones."""


def measure(study: Study, job: Job, root: Path, device: str, steps: int = STEPS) -> Cost | str:
    """Run a job's config for a few steps in a child process and store what they cost.

    Args:
        study: its study, whose file takes the result.
        job: one experiment; nothing is written into its own run folder.
        root: the project's root folder.
        device: name of the device, for the file.
        steps: optimisation steps.

    Returns:
        The cost of a step, or a sentence why it could not be measured.
    """
    config = to_plain(job.cfg)
    folder = root / FOLDER / job.folder.name
    overrides = [*job.overrides, *short_overrides(config, root, folder, steps)]
    done = run_briefly(job.config_file, overrides, folder, root, LIMIT_SECONDS)
    cost = cost_so_far(read_run(folder), f"{steps} measured steps") if done.is_finished else None
    if cost is None:
        return f"{done.last_line} All it said: {folder / 'console.txt'}"
    store_cost(study, root, device, step_key(config), cost)
    shutil.rmtree(folder, ignore_errors=True)  # its checkpoints are large
    return cost


def remove_data(root: Path) -> None:
    """Remove the generated data of all measurements; what failed stays to be looked at."""
    shutil.rmtree(root / FOLDER / "data", ignore_errors=True)
    if (root / FOLDER).is_dir() and not any((root / FOLDER).iterdir()):
        (root / FOLDER).rmdir()


def short_overrides(config: Any, root: Path, folder: Path, steps: int) -> list[str]:
    """Overrides that leave of a config's run a few steps and an evaluation of one sample.

    Raises:
        ConfigError: it is not known how to generate data for the config's data set.
    """
    wanted = {
        "train.max_iter": steps,
        "train.eval_period": steps,
        "train.checkpoint_period": steps,
        "train.log_period": 1,
        "train.validation_loss": "false",
        "dataloader.valid.limit": 1,
        "dataloader.test.limit": 1,
    }
    overrides = [
        f"{key}={value}" for key, value in wanted.items() if select(config, key) != MISSING
    ]
    weights = [key for key in leaves(config) if key.rpartition(".")[2] == "init_checkpoint"]
    overrides += [assignment(key, "") for key in weights]
    overrides.append(assignment("train.output_dir", str(folder)))
    return overrides + _data(config, root)


def _data(config: Any, root: Path) -> list[str]:
    """Overrides for generated data, unless the config generates its own."""
    if select(config, "dataset.generate") not in (None, MISSING):
        return []
    target = select(config, "dataset._target_")
    if target not in _GENERATED:
        raise ConfigError(
            f"Data for {target} cannot be generated; {', '.join(_GENERATED)} can. Give "
            "dataset.generate, or let a run of it tell its time."
        )
    size = select(config, "dataloader.image_size")
    kind = f"{target.rpartition('.')[2]}_{select(config, 'dataset.downsample')}_{size}"
    place = assignment("dataset.root", str(root / FOLDER / "data" / kind))
    return [place, *(text.format(image_size=size) for text in _GENERATED[target])]
