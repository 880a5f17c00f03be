"""The runner over a script that only pretends to train: skip, resume, retry, stop, report."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from run_toys import SCRIPT, change_record, folder_of, wait_for
from script_runs import forked

from labbook import cli
from labbook.config.load import load_config, save_config
from labbook.run import ledger, processes, runner
from runfolder.locks import lock_run
from runfolder.provenance import process_start
from runfolder.records import (
    finish_record,
    read_record,
    run_status,
    start_record,
    write_results,
)

RUNNER = """
import signal
import sys
from pathlib import Path
from labbook.run.jobs import Job
from labbook.run.runner import RunOptions, run_jobs
from omegaconf import OmegaConf

signal.signal(signal.SIGINT, signal.default_int_handler)  # if tests are in the background
root, slots = Path(sys.argv[1]), int(sys.argv[2])
cfg = OmegaConf.create({"train": {"max_iter": 1}, "dataset": {}})
jobs = [
    Job(name, Path(f"{name}.py"), root / "work_dirs" / f"ofat_{name}", cfg, "fake.py")
    for name in ("long", "longer", "good")
]
print(run_jobs(jobs, root, RunOptions(slots)))
"""


SECOND = """
import sys
from pathlib import Path
from labbook import cli

root = Path(sys.argv[1])
arguments = ["run", "ofat", "--jobs", "2", "train.device=cpu"]
sys.exit(cli.main(arguments, root, "fake.py"))
"""


class Ended(NamedTuple):
    """How a call of ``lab.py run`` went, with all that it and its children wrote."""

    status: int
    out: str
    err: str


@pytest.fixture
def study(tmp_path, write_config, monkeypatch, capfd) -> Callable[..., Ended]:
    """``study("good fails")`` writes these configs; the rest is the command line of a run."""
    (tmp_path / "fake.py").write_text(SCRIPT)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where GPUs are marked as lent
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.02)

    def run(names: str = "", *arguments: str) -> Ended:
        for name in names.split():
            write_config(name)
        capfd.readouterr()
        return Ended(
            cli.main(["run", "ofat", *arguments], tmp_path, "fake.py"), *capfd.readouterr()
        )

    return run


def test_goes_on_past_failures_reports_and_resumes(study, tmp_path):
    names = ("a_crash", "b_fails", "c_killed", "d_good")
    status, out, err = study(" ".join(names), "--retries", "0")
    states = {name[0]: run_status(folder_of(tmp_path, name)) for name in names}
    assert states == {"a": "new", "b": "failed", "c": "interrupted", "d": "finished"}
    assert "ImportError: before the record" in out, "the child's output reaches the terminal"
    console = folder_of(tmp_path, "a_crash") / "console.txt"
    assert "ImportError: before the record" in console.read_text()
    assert "line 39" in err and "line 20" not in err, "the last 20 lines of the log"
    assert "killed by SIGKILL" in err and "d_good" not in err and status == 1
    assert "b_fails did not finish: its process ended with status 1" in err
    assert "'failed': the loss is not finite" in err
    status, out, _ = study("", "train.epochs=100", "--only", "c_killed", "d_good")
    assert "starting d_good" not in out and "already finished" in out and status == 0
    assert "starting c_killed ['--resume', 'train.epochs=100']" in out
    record = read_record(folder_of(tmp_path, "c_killed"))
    assert record is not None
    assert (record.attempts, record.status) == (2, "finished")


def test_only_a_run_that_died_is_started_again_and_not_for_ever(study):
    starts = {"killed": 2, "doomed": 3, "fails": 1, "crash": 1}
    status, out, _ = study(" ".join(starts), "--retries", "2")
    assert {name: out.count(f"starting {name}") for name in starts} == starts and status == 1


@pytest.mark.parametrize(
    ("end", "room", "expected"),
    [
        (None, 1 << 30, True),
        (None, 0, False),
        (("interrupted", "KilledError: a data-loading process"), 1 << 30, True),
        (("interrupted", "Interrupted; --resume goes on."), 1 << 30, False),
        (("failed", "FullDiskError: no space"), 1 << 30, False),
    ],
)
def test_what_goes_better_next_time(tmp_path, monkeypatch, end, room, expected):
    start_record(tmp_path, [])
    if end:
        finish_record(tmp_path, *end)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=room))
    assert runner.was_killed(tmp_path, 1) == expected


def test_seeds_have_folders_and_seeds_of_their_own(study, tmp_path):
    status, out, _ = study("good other", "--seeds", "3", "train.seed=10")
    ends = ("good", "good_seed2", "good_seed3", "other", "other_seed2", "other_seed3")
    assert all(run_status(folder_of(tmp_path, end)) == "finished" for end in ends) and status == 0
    assert "starting good ['--resume', 'train.seed=10']" in out
    third = "'train.seed=10', 'train.seed=12', \"train.output_dir='work_dirs/ofat_other_seed3'\""
    assert f"starting other ['--resume', {third}]" in out
    order = [line for line in out.splitlines() if line.startswith("starting")]
    assert "seed" not in order[1].replace("train.seed=10", ""), "all experiments once, then again"
    status, out, _ = study("", "--seeds", "3", "train.seed=10")
    assert "starting" not in out and status == 0


@pytest.mark.parametrize("arguments", [("--gpus", "3,5"), ("--jobs", "2", "train.device=cpu")])
def test_jobs_overlap_and_never_share_a_gpu(study, tmp_path, monkeypatch, arguments):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5" if "--gpus" in arguments else "")
    assert study("a_meets b_meets c_meets d_meets", *arguments).status == 0
    threads = [path.read_text() for path in (tmp_path / "marks").glob("threads-*")]
    assert threads == ["4"] * 4, "the CPU is divided"


@pytest.mark.parametrize(
    ("visible", "arguments", "sentence"),
    [
        ("0,1", ("--gpus", "0,1", "--jobs", "3"), "3 runs at a time with 1 GPUs each need 3"),
        ("0,1", ("--jobs", "3"), "two runs never share a GPU"),
        ("0,1", ("--gpus", "2"), "--gpus names GPU 2, but there are 0, 1"),
        ("0,1", ("--gpus", "1,1"), "names a GPU twice"),
        ("", ("--gpus", "0"), "but there are none"),
        ("0", ("--gpus", "0", "train.device=cpu"), "Leave one of them out"),
        ("0,1", ("--processes", "4"), "need 4, and there are 2"),
        ("", ("--slurm", "partition=gpu"), "need --executor slurm"),
        ("", ("train.max_itre=1",), "Did you mean 'train.max_iter'"),
        ("", ("--only", "god"), "There is no experiment 'god'. Did you mean 'good'"),
        ("", ("train.output_dir=x",), "good and other have the same train.output_dir"),
    ],
)
def test_nothing_starts_when_the_command_is_wrong(study, monkeypatch, visible, arguments, sentence):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    status, out, err = study("good other", *arguments)
    assert status == 2 and sentence in err and "starting" not in out


def test_refuses_to_mix_configs(study, tmp_path, write_config):
    save_config(load_config(write_config("good")), tmp_path / "saved")
    (tmp_path / "good.saved.yaml").write_text((tmp_path / "saved" / "config.yaml").read_text())
    assert study().status == 0
    status, _, err = study("", "optimizer.lr=0.5", "--only", "good")
    assert status == 1
    assert "config differs in optimizer.lr (there 0.001, now 0.5). Remove" in err
    assert study("", "train.device=cpu").status == 0, "a key that is about the machine only"


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_what_died_before_its_first_checkpoint_is_set_aside(
    study, tmp_path, write_config, has_checkpoint
):
    save_config(load_config(write_config("fails")), tmp_path / "saved")
    (tmp_path / "fails.saved.yaml").write_text((tmp_path / "saved" / "config.yaml").read_text())
    folder, aside = folder_of(tmp_path, "fails"), tmp_path / "work_dirs/older/ofat_fails_failed"
    study()
    if has_checkpoint:
        (folder / "last_checkpoint").touch()
    before = read_record(folder)
    _, out, err = study("", "optimizer.lr=0.5")
    if has_checkpoint:
        assert "config differs in optimizer.lr" in err and not aside.exists()
    else:
        assert f"is now {aside}" in out and "starting fails" in out
        assert read_record(aside) == before and read_record(folder).attempts == 1


def test_a_finished_run_on_other_data_does_not_count(study, tmp_path):
    data = tmp_path / "data"
    root = f"dataset.root={data}", "train.output_dir=work_dirs/ofat_good"
    assert study("good", *root).status == 0
    assert study("", *root).status == 0, "data that are not there cannot be compared"
    data.mkdir()
    (data / "checksum").write_text("same")
    assert study("", *root).status == 0
    ledger._fingerprint.cache_clear()
    (data / "checksum").write_text("different")
    status, _, err = study("", *root)
    assert status == 1 and "finished run on other data: their checksum was same and" in err


def test_older_code_counts_and_is_repeated_only_if_asked(study, tmp_path, capfd):
    study("good")
    folder = folder_of(tmp_path, "good")
    change_record(folder, code={"commit": "0123456789abcdef", "uncommitted_changes": False})
    assert "already finished by older code (0123456; --stale repeats it)" in study().out
    assert cli.main(["list", "ofat"], tmp_path) == 0
    assert "(older code: 0123456)" in capfd.readouterr().out
    assert "starting good" in study("", "--stale").out
    kept = tmp_path / "work_dirs" / "older" / "ofat_good_0123456"
    assert run_status(kept) == "finished" and run_status(folder) == "finished"
    status, out, _ = study("", "--stale")
    assert "starting" not in out and status == 0


@pytest.mark.parametrize("end", ["finished", "failed", "interrupted"])
def test_a_run_that_another_process_holds_is_waited_for(study, tmp_path, end):
    folder = folder_of(tmp_path, "good")
    folder.mkdir(parents=True)

    def run_elsewhere() -> None:
        with lock_run(folder):
            start_record(folder, [])
            wait_for(lambda: run_status(folder_of(tmp_path, "other")) == "finished")
            if end == "finished":
                write_results(folder, {})
            finish_record(folder, end, "elsewhere")

    thread = Thread(target=run_elsewhere)
    thread.start()
    wait_for(lambda: run_status(folder) == "running")
    status, out, err = study("good other")
    thread.join()
    assert out.count(f"good is taken: process {os.getpid()} on") == 1
    assert ("starting good" in out) == (end == "interrupted"), "a run that was lost is gone on with"
    assert status == (end == "failed") and ("failed, run by" in err) == (end == "failed")


def test_two_runners_share_a_study(study, tmp_path, write_config):
    names = [f"long{number}" for number in range(4)]
    for name in names:
        write_config(name)
        folder_of(tmp_path, name).mkdir(parents=True)
        (folder_of(tmp_path, name) / "checkpoint").touch()  # it ends at once
    (tmp_path / "second.py").write_text(SECOND)
    command = [sys.executable, "second.py", str(tmp_path)]
    second = forked(command, tmp_path / "second.console", tmp_path)
    status, out, _ = study("", "--jobs", "2", "train.device=cpu")
    assert (status, second.wait(60)) == (0, 0)
    there = second.tail(sys.maxsize)
    for name in names:
        record = read_record(folder_of(tmp_path, name))
        assert record is not None and record.status == "finished"
        assert {one["exit_reason"] for one in record.earlier} <= {"done"}, "none was broken off"
        assert "trying again" not in (out + there).lower()


def test_a_folder_that_cannot_be_written_is_a_sentence(study, tmp_path):
    (tmp_path / "file").touch()
    status, _, err = study("good", "train.output_dir=file/run")
    assert status == 1 and "not started: " in err


def start_runner(root: Path, slots: int) -> subprocess.Popen[str]:
    (root / "fake.py").write_text(SCRIPT)
    command = [sys.executable, "-u", "-c", RUNNER, str(root), str(slots)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("slots", [1, 2])
def test_stops_cleanly_and_goes_on(tmp_path, number, slots):
    process = start_runner(tmp_path, slots)
    running = [folder_of(tmp_path, name) for name in ("long", "longer")[:slots]]
    wait_for(lambda: all((folder / "ready").exists() for folder in running))
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    for folder in running:
        record = read_record(folder)
        assert record is not None
        assert (record.status, record.exit_reason) == ("interrupted", "asked to")
        assert (folder / "checkpoint").exists()
    assert "The same command goes on from here" in out
    assert out.rstrip().endswith("([], True)")
    assert not folder_of(tmp_path, "good").exists()


def test_a_killed_runner_loses_nothing(tmp_path):
    process = start_runner(tmp_path, 1)
    long = folder_of(tmp_path, "long")
    wait_for((long / "ready").exists)
    process.kill()
    process.communicate()
    assert run_status(long) == "running", "the run outlives its runner"
    second = start_runner(tmp_path, 2)
    wait_for((folder_of(tmp_path, "longer") / "ready").exists)
    (folder_of(tmp_path, "longer") / "checkpoint").touch()
    record = read_record(long)
    assert record is not None
    (long / "checkpoint").touch()
    os.kill(record.pid, signal.SIGKILL)
    os.kill(read_record(folder_of(tmp_path, "longer")).pid, signal.SIGTERM)
    out, _ = second.communicate(timeout=30)
    assert f"long is taken: process {record.pid} on" in out
    third, _ = start_runner(tmp_path, 1).communicate(timeout=30)
    assert third.count("is_finished=True") == 3
    assert read_record(long).attempts == 2, "the second runner went on with it"


STUBBORN = """
import signal, subprocess, sys, time
for number in (2, 15): signal.signal(number, signal.SIG_IGN)
if sys.argv[1:]: subprocess.Popen([sys.executable, __file__], start_new_session=True)
else: open("up", "w").close()
time.sleep(60)
"""


def test_a_second_request_ends_runs_at_once_with_their_children(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "KILL_SECONDS", 0.2)
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    command = [sys.executable, "stubborn.py", "parent"]
    process = processes.RunProcess(tmp_path / "run", command, tmp_path)
    wait_for((tmp_path / "up").exists)
    (child,) = processes.descendants(process.pid)
    requests = ["SIGINT"]

    class Display:
        def say(self, text: str) -> None: ...

        def update(self) -> None:
            requests.append("SIGINT")  # as the handler of a second Ctrl-C does

    stopping = runner.Runner([], tmp_path, runner.RunOptions(), Display())  # type: ignore[arg-type]
    stopping.active.append(runner.Attempt(None, process, runner.GpuLease()))  # type: ignore[arg-type]
    stopping.stop(requests)
    assert process.exit_code() == -signal.SIGKILL
    wait_for(lambda: process_start(child.pid) is None)


PLAIN = """
import torch
from detectron2.config import LazyCall as L

model = L(torch.nn.Linear)(in_features=3, out_features=4)
optimizer = L(torch.optim.SGD)(lr=0.1)
train = dict(output_dir="work_dirs/ofat_NAME", max_iter=10, device="cpu")
"""


def test_configs_without_experiment_are_planned_run_listed_and_tabled(
    study, tmp_path, write_config, capfd
):
    for name in ("good", "other"):
        write_config(name).write_text(PLAIN.replace("NAME", name))
    status, out, _ = study()
    assert all(f"starting {name}" in out for name in ("good", "other")) and status == 0
    assert cli.main(["plan", "ofat"], tmp_path) == 0
    assert cli.main(["list", "ofat"], tmp_path) == 0
    out = capfd.readouterr().out
    assert "Total: 2 runs, 20 iterations" in out
    assert out.count("finished     work_dirs/ofat_") == 2
    assert "ofat_good" in (tmp_path / "work_dirs" / "ofat_table.md").read_text()
    assert study("", "--seeds", "2").status == 2, "without train.seed there are no others"
