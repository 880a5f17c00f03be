"""Starting the real training script from tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "tools/lazyconfig_train_net.py"
TIMES = {"time", "data_time", "eta_seconds", "images_per_second", "memory_mb"}


def command(config: str | Path, folder: Path, overrides: list[str], *flags: str) -> list[str]:
    arguments = [SCRIPT, "--config-file", str(config), *flags]
    return [sys.executable, *arguments, *overrides, f"train.output_dir={folder}"]


def environment(threads: int = 1) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def execute(arguments: list[str], threads: int = 1) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        cwd=ROOT,
        env=environment(threads),
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )


def metrics(folder: Path) -> list[dict]:
    """The lines of ``metrics.json`` without what a clock or the machine decides."""
    rows = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return [{key: row[key] for key in row if key not in TIMES} for row in rows]


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 120, size: int = 0) -> None:
    end = time.monotonic() + seconds
    while not path.exists() or path.stat().st_size < size:
        assert process.poll() is None, f"the run ended before there was {path.name}"
        assert time.monotonic() < end, f"no {path.name} after {seconds} s"
        time.sleep(0.01)
