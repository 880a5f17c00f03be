"""Runs that something breaks off: a sentence on the console, the traceback in the log, a record."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from script_runs import CONFIG, ROOT, SCRIPT, beside, command, forked, small_overrides, wait_for

from labbook.run.processes import RunProcess, descendants

LONG = ["train.epochs=1000", "train.log_period=1", "train.eval_period=10000"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", SCRIPT]
LAUNCH = ["tests/e2e/launch_script.py", "--num-gpus=3"]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> list[str]:
    return small_overrides(tmp_path_factory.mktemp("data") / "heads")


def start(folder: Path, overrides: list[str], *program: str) -> RunProcess:
    """A run that would be long, in its second step or later."""
    whole = python, _, *words = command(CONFIG, folder, [*overrides, *LONG])
    console = beside(folder)
    if program:
        arguments, threads = [python, *program, *words], {"OMP_NUM_THREADS": "1"}
        process = RunProcess(console.parent, arguments, ROOT, threads, console=console.name)
    else:
        process = forked(whole, console)
    wait_for(folder / "metrics.json", process, size=1)
    return process


def end_of(process: RunProcess, folder: Path, name: str) -> str:
    """The sentence of a run that ends within a minute, which console, log and record agree on."""
    family = descendants(process.pid)
    assert process.wait(60) != 0
    assert not psutil.wait_procs(family, 60)[1]  # those that a launcher leaves behind write, too
    console = process.tail(sys.maxsize)
    reason = json.loads((folder / "run.json").read_text())["exit_reason"]
    assert reason.startswith(f"{name}: ") and "\n" not in reason
    assert console.count(reason) == 1, console
    ours = console.replace("Traceback", "", int("torchrun" in console or "elastic" in console))
    assert "Traceback" not in ours, "torchrun has one of its own"
    logs = "".join(path.read_text() for path in folder.glob("log.txt*"))
    assert "Traceback" in logs and reason.split(": ")[1][:40] in logs
    return reason


def test_a_killed_data_loading_process(small, tmp_path):
    process = start(tmp_path, [*small, "dataloader.train.num_workers=1"])
    (worker,) = psutil.Process(process.pid).children()
    worker.kill()
    assert "num_workers" in end_of(process, tmp_path, "KilledError")


def test_a_removed_run_folder(small, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, small)
    folder.rename(tmp_path / "elsewhere")  # at once, as the run goes on writing
    assert str(folder) in end_of(process, folder, "FileNotFoundError")


def test_a_loss_that_is_not_finite(small, tmp_path):
    process = start(tmp_path, [*small, "optimizer.lr=1e30"])
    assert "nan_dump" in end_of(process, tmp_path, "NonFiniteLoss")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_of_two(small, tmp_path, rank):
    process = start(tmp_path, small, *TORCHRUN)
    ranks = sorted(psutil.Process(process.pid).children(), key=lambda child: child.pid)
    main = json.loads((tmp_path / "run.json").read_text())["pid"]
    assert ranks[0].pid == main
    started = time.monotonic()
    os.kill(ranks[rank].pid, signal.SIGKILL)
    reason = end_of(process, tmp_path, "KilledError")
    assert "of the 2 processes" in reason and "--resume" in reason
    assert time.monotonic() - started < 60 and not any(child.is_running() for child in ranks)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 2])
def test_a_killed_process_of_three_without_torchrun(small, tmp_path, rank):
    process = start(tmp_path, [*small, "train.total_batch_size=6"], *LAUNCH)
    others = psutil.Process(process.pid).children()  # and one that looks after semaphores
    ranks = [child for child in others if "spawn_main" in " ".join(child.cmdline())]
    ranks.sort(key=lambda child: child.pid)
    assert (
        len(ranks) == 3 and ranks[0].pid == json.loads((tmp_path / "run.json").read_text())["pid"]
    )
    ranks[rank].kill()
    assert "of the 3 processes" in end_of(process, tmp_path, "KilledError")
    assert not any(child.is_running() for child in ranks)


@pytest.mark.slow
def test_a_process_killed_in_the_last_evaluation(tmp_path):
    overrides = small_overrides(tmp_path / "heads")
    overrides[1] = "dataset.generate={seed: 0, image_size: 64, train: 8, valid: 200, test: 2}"
    folder = tmp_path / "run"
    process = start(folder, [*overrides, "train.max_iter=2"], *TORCHRUN)
    while (folder / "log.txt").read_text().count("Start inference") < 2:
        assert process.exit_code() is None
        time.sleep(0.02)
    time.sleep(0.5)
    max(psutil.Process(process.pid).children(), key=lambda child: child.pid).kill()
    assert "process 1" in end_of(process, folder, "KilledError")


@pytest.mark.slow
def test_a_data_file_that_only_one_process_of_two_misses(small, tmp_path):
    data, folder = tmp_path / "heads", tmp_path / "run"
    process = start(folder, [*small, f"dataset.root={data}"], *TORCHRUN)
    path = next((data / "train").glob("*.jpg"))
    path.unlink()
    assert str(path) in end_of(process, folder, "DataError")
