"""How long a step of a config takes and how much memory, as measured here before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labbook.config.studies import Study
from labbook.config.trees import leaves
from runfolder.files import read_json, write_json
from runfolder.run import Run

_SECTIONS = ("model", "optimizer", "dataset", "dataloader.train")
_TRAIN_KEYS = ("total_batch_size", "micro_batch_size", "amp", "compile", "device")
_COSTLESS = {"lr", "weight_decay", "seed", "root", "init_checkpoint"}


@dataclass(frozen=True)
class Cost:
    """What a step was measured to take."""

    seconds_per_iteration: float
    peak_memory_mb: float | None
    source: str
    """Where that is known from, for people."""


def step_key(config: Mapping[str, Any]) -> str:
    """A checksum of what decides the cost of a step.

    Model, batch, data and precision count. The number of steps, the learning rate and the seed do
    not, so one measurement serves all experiments that differ in these only.

    Args:
        config: resolved, in plain dicts and lists.
    """
    kept = {
        key: value
        for key, value in leaves(config).items()
        if not _COSTLESS & set(key.split("."))
        and (key.startswith(_SECTIONS) or key in [f"train.{name}" for name in _TRAIN_KEYS])
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


def known_costs(study: Study, root: Path, device: str, runs: Iterable[Run]) -> dict[str, Cost]:
    """Costs by :func:`step_key`: from runs in one process or else from measurements.

    Args:
        study: the study.
        root: the project's root folder.
        device: name of the device; what ran on another does not count.
        runs: run folders that may tell.

    Raises:
        ValueError: the file of measurements is damaged.
    """
    measured = (read_json(measurements_file(study, root)) or {}).get(device, {})
    costs = {key: Cost(**entry) for key, entry in measured.items()}
    for run in runs:
        cost = _cost_of(run) if _ran_on(run) == device else None
        if cost is not None:
            costs[step_key(run.config)] = cost
    return costs


def store_cost(study: Study, root: Path, device: str, key: str, cost: Cost) -> None:
    """Add a measurement to the study's file."""
    path = measurements_file(study, root)
    content = read_json(path) or {}
    content.setdefault(device, {})[key] = asdict(cost)
    write_json(path, content)


def measurements_file(study: Study, root: Path) -> Path:
    """Holds costs by device and :func:`step_key`."""
    return root / study.work_folder / f"{study.family}_measured.json"


def _ran_on(run: Run) -> str | None:
    """Name of the device of a run in one process; None of others."""
    if run.record is None or run.record.processes != 1 or "train" not in run.config:
        return None
    return device_name(run.config["train"].get("device", "auto"), run.record.devices) or None


def _cost_of(run: Run) -> Cost | None:
    """What a finished run measured, or one that has written steps so far."""
    source = f"run {run.folder.name}"
    if run.is_finished and run.results.get("seconds_per_iteration"):
        seconds, memory = run.results["seconds_per_iteration"], run.results.get("peak_memory_mb")
        return Cost(seconds, memory, source)
    return cost_so_far(run, source)


def cost_so_far(run: Run, source: str) -> Cost | None:
    """From the steps that a run has written: the median of the last; None before the first."""
    rows = [row for row in run.metrics() if row.get("images_per_second")]
    if not rows:
        return None
    seconds = run.config["train"]["total_batch_size"] / rows[-1]["images_per_second"]
    return Cost(seconds, max((row.get("memory_mb") or 0.0) for row in rows) or None, source)
