"""Starting the real training script from tests, and comparing what it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from labbook.run.processes import RunProcess
from labbook.run.trials.forked import ForkedRun, load_once

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "tools/lazyconfig_train_net.py"
CONFIG = "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
LIBRARIES = (
    "eventcam.sampling.train_loader",
    "labbook.run.session",
    "quick_runs",
    "smalldet.engine.run",
    "smalldet.evaluation.coco",
    "smalldet.evaluation.event_boxes",
    "smalldet.predict.command",
    "toydata.heads.images",
    "toydata.streets.recording",
    "torch.utils.tensorboard",
)
TIMES = {"time", "data_time", "eta_seconds", "images_per_second", "memory_mb"}


def command(config: str | Path, folder: Path, overrides: list[str], *flags: str) -> list[str]:
    arguments = [SCRIPT, "--config-file", str(config), *flags]
    return [sys.executable, *arguments, *overrides, f"train.output_dir={folder}"]


def small_overrides(data: Path) -> list[str]:
    """Make the toy baseline smaller still: 6 steps of 4 images, generated in ``data``."""
    return [
        f"dataset.root={data}",
        "dataset.generate={seed: 0, image_size: 64, train: 8, valid: 2, test: 2}",
        "dataloader.image_size=64",
        "train.images=8",
        "train.epochs=3",
        "train.total_batch_size=4",
        "model.backbone.out_channels=16",
        "model.proposal_generator.pre_nms_topk=[50, 50]",
        "model.roi_heads.batch_size_per_image=16",
        "model.roi_heads.box_heads.0.conv_dims=[16]",
        "model.roi_heads.box_heads.0.fc_dims=[16]",
    ]


def environment(threads: int = 1) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def forked(arguments: list[str], console: Path, root: Path = ROOT) -> ForkedRun:
    """A script begun in a forked process of one thread, whose two outputs go to ``console``."""
    load_once(LIBRARIES, threads=1)
    return ForkedRun(console.parent, arguments, root, console=console.name)


def execute(arguments: list[str], root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A script in a forked process, from its start to its end; its two outputs come as one."""
    with tempfile.TemporaryDirectory() as folder:
        run = forked(arguments, Path(folder, "console"), root)
        status = run.wait(3600)
        said = run.tail(sys.maxsize)
    return subprocess.CompletedProcess(arguments, status, said, said)


def execute_anew(arguments: list[str], threads: int = 1) -> subprocess.CompletedProcess[str]:
    """A script in an interpreter of its own, which takes seconds to load all libraries."""
    return subprocess.run(
        arguments,
        cwd=ROOT,
        env=environment(threads),
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )


def run_script(
    config: str | Path, folder: Path, overrides: list[str], *flags: str, threads: int = 0
) -> str:
    """Output of a run that must end well; with ``threads`` in an interpreter of its own."""
    words = command(config, folder, overrides, *flags)
    done = execute_anew(words, threads) if threads else execute(words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def beside(folder: Path) -> Path:
    """The console of a run that has its folder to itself."""
    return folder.with_name(f"{folder.name}.console")


def kill_and_resume(config: str, folder: Path, overrides: list[str]) -> None:
    """A run that is killed behind its first checkpoint, and resumed to its end."""
    process = forked(command(config, folder, overrides), beside(folder))
    wait_for(folder / "last_checkpoint", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "results.json").exists(), "the run was over before it was killed"
    run_script(config, folder, overrides, "--resume")


def assert_equal_ends(*folders: Path) -> None:
    """The final weights and the scores of two runs are the same, digit by digit."""
    ours, theirs = (
        torch.load(folder / "model_final.pth", weights_only=True)["model"] for folder in folders
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    mine, other = map(results, folders)
    assert (mine["test"], mine["final_loss"]) == (other["test"], other["final_loss"])


def assert_two_steps_and_scores(config: Path, folder: Path, overrides: list[str]) -> dict:
    """A full-size run of two steps is evaluated on two images; returns its parameters' numbers."""
    run_script(config, folder, overrides, threads=2)
    scores = results(folder)
    assert scores["valid"]["bbox/num_images"] == scores["test"]["bbox/num_images"] == 2
    assert scores["valid"]["bbox/AP"] is not None
    steps = [row for row in metrics(folder) if "total_loss" in row]
    assert len(steps) == 2 and all(0 < row["total_loss"] < float("inf") for row in steps)
    for checkpoint in folder.glob("*.pth"):
        checkpoint.unlink()
    return scores["parameters"]


def metrics(folder: Path) -> list[dict]:
    """The lines of ``metrics.json`` without what a clock or the machine decides."""
    rows = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return [{key: row[key] for key in row if key not in TIMES} for row in rows]


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(path: Path, process: RunProcess, seconds: float = 120, size: int = 0) -> None:
    end = time.monotonic() + seconds
    while not path.exists() or path.stat().st_size < size:
        assert process.exit_code() is None, f"the run ended before there was {path.name}"
        assert time.monotonic() < end, f"no {path.name} after {seconds} s"
        time.sleep(0.01)
