"""Run folders as training leaves them, made from the configs of a toy study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labbook.config.load import load_config, save_config
from runfolder.names import FINGERPRINT
from runfolder.records import finish_record, start_record, write_results

CHILD = (
    'experiment.parent = "ofat_baseline"',
    'experiment.factors = ["optimizer.lr"]',
    'experiment.hypothesis = "Faster."',
    'experiment.targets = {"bbox/AP50": 55.0, "final_loss": 0.1}',
    "optimizer.lr = 0.01",
)


def results(ap50: float, **values: Any) -> dict[str, Any]:
    """``results.json`` of a run with this AP50 on valid and 2 points less on test."""
    splits = {
        split: {"bbox/AP50": score, "bbox/AP": score / 2, "bbox/APs": None}
        for split, score in (("valid", ap50), ("test", ap50 - 2))
    }
    costs = {
        "iterations": 40,
        "best_iteration": 19,
        "best_epoch": 1,
        "training_seconds": 20.0,
        "seconds_per_iteration": 0.5,
        "peak_memory_mb": 1234.0,
        "final_loss": 0.5,
        "data_fingerprint": "abc",
    }
    return {**splits, **costs, **values}


def start_run(config: Path, folder: Path, overrides: Sequence[str] = ()) -> Path:
    """A run folder of ``config`` in which training has begun."""
    overrides = [*overrides, f"train.output_dir={folder}"]
    command = ["tools/lazyconfig_train_net.py", "--config-file", str(config), *overrides]
    start_record(folder, command, 0, str(config), overrides)
    save_config(load_config(config, overrides), folder)
    (folder / FINGERPRINT).write_text("abc\n")
    return folder


def write_metrics(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """``metrics.json`` with a row every 10 steps."""
    numbered = [{"iteration": 10 * n + 9, **row} for n, row in enumerate(rows)]
    (folder / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in numbered))


def make_run(config: Path, folder: Path, ap50: float, **values: Any) -> Path:
    """A finished run folder of ``config``."""
    start_run(config, folder)
    write_results(folder, results(ap50, **values))
    finish_record(folder, "finished", "All 40 steps done.")
    return folder
