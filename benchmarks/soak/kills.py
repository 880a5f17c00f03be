"""Runs that are killed at random moments and resumed, until they end in the same digits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import torch

from benchmarks.soak import toys
from benchmarks.soak.parts import Found
from runfolder.names import LAST_CHECKPOINT, METRICS, RESULTS

STEPS = 40
OFTEN = ("train.checkpointer.period=1", "train.log_period=1")
SHARE_EARLY, EARLY, LATE = 0.2, 5.0, 1.0
"""Share of kills while a run starts and the seconds within; seconds after it has come further."""
PATIENCE = 300.0  # seconds
CLOCK = {"time", "data_time", "eta_seconds", "images_per_second", "memory_mb"}


def survive(name: str, wanted: int, seed: int) -> Found:
    """Kill runs of this kind ``wanted`` times in all, and compare each with one left alone."""
    found, rng, began = Found(name, "kills", seed=seed), Random(f"{name} {seed}"), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak_") as scratch:
        home, runs = Path(scratch), 0
        config, overrides = kind_of_run(name, home / "data")
        toys.run(config, home / "whole", overrides)
        while found.count < wanted and found.is_sound:
            runs += 1
            folder = home / f"killed_{runs}"
            while (code := attempt(config, folder, overrides, rng, found.count < wanted)) is None:
                found.count += 1
            place = f"seed {seed}, run {runs}, {found.count} kills: "
            if code:
                found.uncaught.append(f"{place}ended with {code}: {toys.said(folder)}")
            else:
                found.silent += [place + text for text in differences(home / "whole", folder)]
    found.seconds, found.note = time.monotonic() - began, f"{runs} runs of {STEPS} steps"
    return found


def kind_of_run(name: str, data: Path) -> tuple[str, list[str]]:
    """Config and overrides, with accumulation and a worker."""
    if name == "kill_ofat":
        return toys.OFAT, [*toys.ofat(data, STEPS), "dataloader.num_workers=1", *OFTEN]
    mode = name.removeprefix("kill_")
    sampling = [f"dataloader.train.sampling.mode={mode}", "dataloader.train.num_workers=1"]
    return toys.ETRAM, [*toys.etram(data, STEPS), *sampling, *OFTEN]


def attempt(
    config: str, folder: Path, overrides: list[str], rng: Random, may_kill: bool
) -> int | None:
    """Start or resume a run, and kill it; None if it was killed, or else its exit status."""
    flags = ["--resume"] if folder.exists() else []
    process = toys.start(config, folder, overrides, *flags)
    if may_kill:
        _kill(process, folder, rng)
    code = process.wait()
    return None if code == -signal.SIGKILL else code


def _kill(process: subprocess.Popen[bytes], folder: Path, rng: Random) -> None:
    """Kill a run with its workers, at a random moment of its start or after it has come further."""
    before, is_early = _progress(folder), rng.random() < SHARE_EARLY
    delay, end = rng.uniform(0, EARLY if is_early else LATE), time.monotonic() + PATIENCE
    while not is_early and _progress(folder) == before and time.monotonic() < end:
        if process.poll() is not None:
            return
        time.sleep(0.01)
    time.sleep(delay)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _progress(folder: Path) -> str:
    try:
        return (folder / LAST_CHECKPOINT).read_text(errors="replace")
    except OSError:
        return ""


def differences(whole: Path, killed: Path) -> list[str]:
    """What differs between two finished runs that should be the same, digit for digit."""
    ours, theirs = map(_weights, (killed, whole))
    names = [n for n in theirs if n not in ours or not torch.equal(ours[n], theirs[n])]
    texts = [f"{len(names)} of {len(theirs)} tensors differ, {names[0]} first"] if names else []
    mine, other = (json.loads((folder / RESULTS).read_text()) for folder in (killed, whole))
    texts += [
        f"{key} of {RESULTS} differs"
        for key in ("valid", "test", "final_loss", "best_iteration")
        if mine.get(key) != other.get(key)
    ]
    return texts + ([f"the lines of {METRICS} differ"] if _rows(killed) != _rows(whole) else [])


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model_final.pth", weights_only=True, map_location="cpu")["model"]


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The lines of the metrics without what a clock decides."""
    rows = map(json.loads, (folder / METRICS).read_text().splitlines())
    return [{key: row[key] for key in row if key not in CLOCK} for row in rows]
