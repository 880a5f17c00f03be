"""How long a step of a config takes and how much memory: known from runs, or measured here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labbook.config.load import ConfigError, to_plain
from labbook.config.overrides import assignment, present_overrides
from labbook.config.signatures import MISSING
from labbook.config.studies import Study
from labbook.config.trees import below, flatten, select
from labbook.run.jobs import Job
from labbook.run.trials.attempts import try_job
from runfolder.files import read_json, write_json
from runfolder.metrics import read_metrics
from runfolder.names import CONSOLE
from runfolder.run import Run, read_run

LIMIT_SECONDS = 3600.0
FOLDER = "work_dirs/debug/measure"
WINDOW = 20
"""Steps whose median a line of metrics has."""

_COSTLY = ("model", "optimizer", "dataset", "dataloader.train", "train.total_batch_size",
           "train.micro_batch_size", "train.amp", "train.device")  # fmt: skip
_WEIGHTS = {"init_checkpoint": "''", "pretrained": "false"}  # of start weights: how to have none
_COSTLESS = {"lr", "weight_decay", "seed", "root", *_WEIGHTS}


@dataclass(frozen=True)
class StepCost:
    """What a step was measured to take."""

    seconds_per_iteration: float
    peak_memory_mb: float | None
    source: str
    """Where that is known from, for people."""


def step_key(config: Mapping[str, Any]) -> str:
    """A checksum of what decides the cost of a step.

    Model, batch, data and precision of the resolved ``config`` count. The number of steps, the
    learning rate and the seed do not, so one measurement serves all experiments that differ in
    these only.
    """
    kept = {
        key: value
        for key, value in flatten(config).items()
        if below(key, _COSTLY) and not _COSTLESS & set(key.split("."))
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def device_name(setting: str, devices: Mapping[str, Any]) -> str:
    """The first GPU that a run would use, or else the processor; "" if that is not known.

    Args:
        setting: ``train.device``.
        devices: of :func:`runfolder.provenance.devices`, now or in a run's record.
    """
    gpus = [] if setting == "cpu" else devices.get("gpus") or []
    return gpus[0] if gpus else devices.get("cpu") or ""


def known_costs(study: Study, root: Path, device: str, runs: Iterable[Run]) -> dict[str, StepCost]:
    """Costs by :func:`step_key`: from ``runs`` in one process, or else from measurements.

    What ran on another device than the one of this name does not count.

    Raises:
        ValueError: the file of measurements is damaged.
    """
    stored = (read_json(measurements_file(study, root)) or {}).get(device, {})
    costs = {key: StepCost(**entry) for key, entry in stored.items()}
    for run in runs:
        if device and _ran_on(run) == device and (cost := _cost_of(run)):
            costs[step_key(run.config)] = cost
    return costs


def measurements_file(study: Study, root: Path) -> Path:
    """Holds costs by device and :func:`step_key`."""
    return root / study.work_folder / f"{study.family}_measured.json"


def measure(study: Study, job: Job, root: Path, device: str, steps: int) -> StepCost | str:
    """Run a job's config for a few steps, at full size, on generated data, and store their cost.

    The study's file takes it, under the name of the device; nothing is written into the job's own
    run folder.

    Returns:
        The cost of a step, or a sentence why it could not be measured.
    """
    config, folder = to_plain(job.cfg), root / FOLDER / job.folder.name
    overrides = (*job.overrides, *short_overrides(study, config, root, folder, steps))
    trial = try_job(replace(job, folder=folder, overrides=overrides), root, LIMIT_SECONDS)
    cost = _cost_so_far(read_run(folder), f"{steps} measured steps") if trial.is_ok else None
    if cost is None:
        return f"{trial.text} All it said: {folder / CONSOLE}"
    stored = read_json(measurements_file(study, root)) or {}
    stored.setdefault(device, {})[step_key(config)] = asdict(cost)
    write_json(measurements_file(study, root), stored)
    shutil.rmtree(folder, ignore_errors=True)  # its checkpoints are large
    return cost


def remove_data(root: Path) -> None:
    """Remove the generated data of all measurements; what failed stays to be looked at."""
    shutil.rmtree(root / FOLDER / "data", ignore_errors=True)
    with contextlib.suppress(OSError):  # it is not empty, or not there
        (root / FOLDER).rmdir()


def short_overrides(study: Study, config: Any, root: Path, folder: Path, steps: int) -> list[str]:
    """Overrides that leave of a config's run a few steps and an evaluation of one sample.

    Raises:
        ConfigError: neither the config nor its study tells how to generate data.
    """
    wanted = {
        "train.max_iter": steps,
        "train.eval_period": steps,
        "train.checkpointer.period": steps,
        "train.log_period": 1,
        "train.validation_loss": "false",
        "dataloader.valid.limit": 1,
        "dataloader.test.limit": 1,
    }
    overrides = present_overrides(config, wanted)
    last = {key: key.rpartition(".")[2] for key in flatten(config)}
    overrides += [f"{key}={_WEIGHTS[name]}" for key, name in last.items() if name in _WEIGHTS]
    overrides.append(assignment("train.output_dir", str(folder)))
    if select(config, "dataset.generate") not in (None, MISSING):
        return overrides  # it generates its own
    if not study.generate:
        raise ConfigError(
            f"The study {study.name} does not say how to generate data (generate, in its "
            "study.yaml). Give dataset.generate, or let a run of it tell its time."
        )
    data = root / FOLDER / "data" / step_key({"dataset": config["dataset"]})[:8]
    return [*overrides, assignment("dataset.root", str(data)), *study.generate]


def _ran_on(run: Run) -> str:
    """Name of the device of a run in one process; "" of others."""
    if run.record is None or run.record.processes != 1 or not run.config.get("train"):
        return ""
    return device_name(run.config["train"].get("device", "auto"), run.record.devices)


def _cost_of(run: Run) -> StepCost | None:
    """What a finished run measured, or one that has written steps so far.

    Of one whose micro-batch became smaller on its way, the steps from there on count.
    """
    source, seconds = f"run {run.folder.name}", run.results.get("seconds_per_iteration")
    if run.is_finished and seconds and not run.lowered_micro_batch:
        return StepCost(seconds, run.results.get("peak_memory_mb"), source)
    return _cost_so_far(run, source)


def _cost_so_far(run: Run, source: str) -> StepCost | None:
    """From the steps that a run has written: the median of the last; None before the first."""
    rows = [row for row in read_metrics(run.folder) if row.get("images_per_second")]
    if run.record and run.lowered_micro_batch:
        since = run.record.micro_batch_step
        rows = (
            [] if since is None else [r for r in rows if r.get("iteration", -1) >= since + WINDOW]
        )
    batch = (run.config.get("train") or {}).get("total_batch_size")
    if not rows or not batch:
        return None
    seconds = batch / rows[-1]["images_per_second"]
    return StepCost(seconds, max((row.get("memory_mb") or 0.0) for row in rows) or None, source)
