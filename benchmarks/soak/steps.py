"""A long run of small steps: its memory and its open files stay as they are."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.soak import toys
from benchmarks.soak.parts import Found
from runfolder.metrics import read_metrics
from runfolder.names import TOTAL_LOSS

GROWTH_MIB = 48.0
"""Memory may grow by so much from the second quarter to the last: caches, the allocator."""
PERIOD = 0.5  # seconds


class Sample(NamedTuple):
    """A look at the run and its workers."""

    mib: float
    files: int


def watch(name: str, steps: int) -> Found:
    """Run so many steps; what grows counts as uncaught."""
    found, began = Found(name, "steps"), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak_") as scratch:
        folder = Path(scratch) / "run"
        config, make = (toys.OFAT, toys.ofat) if name == "steps_ofat" else (toys.ETRAM, toys.etram)
        often = [f"train.{key}={steps // 20 + 1}" for key in ("eval_period", "checkpointer.period")]
        overrides = [*make(Path(scratch) / "data", steps), *often, "train.log_period=1"]
        process, samples = toys.start(config, folder, overrides), []
        while process.poll() is None:
            samples += _sample(process.pid)
            time.sleep(PERIOD)
        found.count = len([row for row in read_metrics(folder) if TOTAL_LOSS in row])
        if process.returncode or found.count != steps:
            found.uncaught = [f"ended with {process.returncode}: {toys.said(folder)}"]
        else:
            found.uncaught, found.note = grown(samples)
    found.seconds = time.monotonic() - began
    return found


def grown(samples: list[Sample]) -> tuple[list[str], str]:
    """What grew from the second quarter to the last, and both in words."""
    quarter = max(len(samples) // 4, 1)
    before, after = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    memory, files = (
        [statistics.median(one[column] for one in part) for part in (before, after)]
        for column in (0, 1)
    )
    note = f"{memory[0]:.0f} to {memory[1]:.0f} MiB, {files[0]:.0f} to {files[1]:.0f} open files"
    texts = [f"memory grew: {note}"] if memory[1] > memory[0] + GROWTH_MIB else []
    return texts + ([f"open files grew: {note}"] if files[1] > files[0] else []), note


def _sample(pid: int) -> list[Sample]:
    try:
        main = psutil.Process(pid)
        family = [main, *main.children(recursive=True)]
        memory = sum(one.memory_info().rss for one in family) / 2**20
        return [Sample(memory, sum(one.num_fds() for one in family))]
    except psutil.Error:
        return []  # it has just ended
