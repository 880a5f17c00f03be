"""TensorBoard's HParams entry of a run: what it was made with beside what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from torch.utils.tensorboard import FileWriter, SummaryWriter
from torch.utils.tensorboard.summary import hparams

METRICS = ("AP50", "AP", "APs")
_FACTOR, _LEVEL, _NONE = "factor", "level", "none"

Value = int | float | str


def write_hparams(folder: str | Path, cfg: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Add the entry to the event files of the run folder.

    ``tensorboard --logdir work_dirs`` then filters and sorts all runs below it in its tab HParams.
    TensorBoard takes its columns from any one run, so they are the same in all: a study's factor
    and its level have a column each, besides :func:`common_values`.

    Args:
        folder: Of the run.
        cfg: The run's config in plain dicts and lists.
        results: What ``results.json`` holds: scores of ``valid`` and ``test`` in percent.
    """
    columns = common_values(cfg)
    scores = final_scores(results)
    experiment, _, _ = hparams(columns, dict.fromkeys(score_names(), 0.0))
    _, start, end = hparams({**declared_values(cfg), **columns}, scores)
    with SummaryWriter(str(folder), filename_suffix=".hparams") as writer:
        events = cast(FileWriter, writer.file_writer)  # None only once the writer is closed
        for summary in (experiment, start, end):
            events.add_summary(summary)
        for name, score in scores.items():
            writer.add_scalar(name, score, results["iterations"])


def common_values(cfg: Mapping[str, Any]) -> dict[str, Value]:
    """What every run is filed under: its factor, and what runs differ in most."""
    experiment = cfg.get("experiment") or {}
    values = {
        _FACTOR: ", ".join(experiment.get("factors") or []) or _NONE,
        _LEVEL: str(experiment.get("level", _NONE)),
        "study": experiment.get("study", _NONE),
        "optimizer": str(cfg["optimizer"]["_target_"]).rpartition(".")[2],
        "optimizer.lr": float(cfg["optimizer"].get("lr", 0.0)),
    }
    names = ("total_batch_size", "epochs", "max_iter", "seed")
    return values | {f"train.{name}": cfg["train"].get(name, 0) for name in names}


def declared_values(cfg: Mapping[str, Any]) -> dict[str, Value]:
    """The values at the keys that the experiment declares to move."""
    factors = (cfg.get("experiment") or {}).get("factors") or []
    tree = OmegaConf.create(dict(cfg), flags={"allow_objects": True})
    return {key: _plain(OmegaConf.select(tree, key)) for key in factors}


def score_names() -> list[str]:
    """Names of the scores of every run, as ``best/valid/AP50``."""
    return [f"best/{split}/{metric}" for split in ("valid", "test") for metric in METRICS]


def final_scores(results: Mapping[str, Any]) -> dict[str, float]:
    """AP of the best model, in percent; those that are not defined are left out."""
    found = {}
    for name in score_names():
        _, split, metric = name.split("/")
        found[name] = (results.get(split) or {}).get(f"bbox/{metric}")
    return {name: float(value) for name, value in found.items() if value is not None}


def _plain(value: Any) -> Value:
    """A value as TensorBoard can file it; a call by the name of what it calls."""
    if isinstance(value, Mapping) and "_target_" in value:
        return str(value["_target_"]).rpartition(".")[2]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return str(value)
