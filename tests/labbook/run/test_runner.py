"""The runner over a script that only pretends to train: skip, resume, retry, stop, report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from run_toys import SCRIPT, folder_of, wait_for

from labbook import cli
from labbook.config.load import load_config, save_config
from labbook.run import ledger, processes, runner
from runfolder.provenance import process_start
from runfolder.records import read_record, run_status, start_record

WriteConfig = Callable[..., Path]
Study = Callable[..., int]

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


@pytest.fixture
def study(tmp_path: Path, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> Study:
    """``study("good", "fails")`` writes these configs; the rest is the command line of a run."""
    (tmp_path / "fake.py").write_text(SCRIPT)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where GPUs are marked as lent
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def run(*names: str, arguments: tuple[str, ...] = ()) -> int:
        for name in names:
            write_config(name)
        return cli.main(["run", "ofat", *arguments], tmp_path, "fake.py")

    return run


def test_goes_on_past_failures_and_reports(
    study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ("a_crash", "b_fails", "c_killed", "d_good")
    assert study(*names, arguments=("--retries", "0")) == 1
    out, err = capfd.readouterr()
    states = {name[0]: run_status(folder_of(tmp_path, name)) for name in names}
    assert states == {"a": "new", "b": "failed", "c": "interrupted", "d": "finished"}
    assert "ImportError: before the record" in out, "the child's output reaches the terminal"
    console = folder_of(tmp_path, "a_crash") / "console.txt"
    assert "ImportError: before the record" in console.read_text()
    assert "line 39" in err and "line 20" not in err, "the last 20 lines of the log"
    assert "killed by SIGKILL" in err
    assert "b_fails did not finish: its process ended with status 1" in err
    assert "d_good" not in err


def test_skips_finished_and_resumes_interrupted(
    study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert study("c_killed", "d_good", arguments=("--retries", "0")) == 1
    capfd.readouterr()
    assert study(arguments=("train.epochs=100",)) == 0
    out, _ = capfd.readouterr()
    assert "starting d_good" not in out and "already finished" in out
    assert "starting c_killed ['--resume', 'train.epochs=100']" in out
    record = read_record(folder_of(tmp_path, "c_killed"))
    assert record is not None
    assert (record.attempts, record.status) == (2, "finished")


@pytest.mark.parametrize(
    ("name", "retries", "starts"),
    [("killed", 1, 2), ("doomed", 2, 3), ("doomed", 0, 1), ("fails", 3, 1), ("crash", 3, 1)],
)
def test_only_a_run_that_died_is_started_again_and_not_for_ever(
    study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, retries: int,
    starts: int,
) -> None:  # fmt: skip
    status = study(name, arguments=("--retries", str(retries)))
    assert capfd.readouterr().out.count(f"starting {name}") == starts
    assert status == (0 if name == "killed" else 1)


def test_seeds_have_folders_and_seeds_of_their_own(
    study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert study("good", "other", arguments=("--seeds", "3", "train.seed=10")) == 0
    folders = [f"ofat_{name}{seed}" for name in ("good", "other") for seed in
               ("", "_seed2", "_seed3")]  # fmt: skip
    assert all(run_status(tmp_path / "work_dirs" / name) == "finished" for name in folders)
    out = capfd.readouterr().out
    assert "starting good ['--resume', 'train.seed=10']" in out
    third = "'train.seed=10', 'train.seed=12', \"train.output_dir='work_dirs/ofat_other_seed3'\""
    assert f"starting other ['--resume', {third}]" in out
    order = [line for line in out.splitlines() if line.startswith("starting")]
    assert "seed" not in order[1].replace("train.seed=10", ""), "all experiments once, then again"
    assert study(arguments=("--seeds", "3", "train.seed=10")) == 0
    assert "starting" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("visible", "arguments"),
    [("3,5", ("--gpus", "3,5")), ("0", ("--jobs", "2", "train.device=cpu"))],
)
def test_jobs_overlap_and_never_share_a_gpu(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str,
    arguments: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8))
    on_cpu = "train.device=cpu" in arguments
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "" if on_cpu else visible)
    assert study(*(f"{letter}_meets" for letter in "abcd"), arguments=arguments) == 0
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
    ],
)
def test_what_cannot_be_given_to_each_run_is_a_sentence(
    study: Study, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    visible: str, arguments: tuple[str, ...], sentence: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert study("good", arguments=arguments) == 2
    out, err = capfd.readouterr()
    assert sentence in err and "starting" not in out


def test_refuses_to_mix_configs(
    study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str], write_config: WriteConfig
) -> None:
    save_config(load_config(write_config("good")), tmp_path / "saved")
    (tmp_path / "good.saved.yaml").write_text((tmp_path / "saved" / "config.yaml").read_text())
    assert study() == 0
    capfd.readouterr()
    assert study(arguments=("optimizer.lr=0.5", "--only", "good")) == 1
    _, err = capfd.readouterr()
    assert "config differs in optimizer.lr (there 0.001, now 0.5). Remove" in err
    assert study(arguments=("train.device=cpu",)) == 0, "a key that is about the machine only"


def test_a_finished_run_on_other_data_does_not_count(
    study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    root = (f"dataset.root={data}",)
    assert study("good", arguments=root) == 0
    assert study(arguments=root) == 0, "data that are not there cannot be compared"
    data.mkdir()
    (data / "checksum").write_text("same")
    assert study(arguments=root) == 0
    capfd.readouterr()
    ledger._fingerprint.cache_clear()
    (data / "checksum").write_text("different")
    assert study(arguments=root) == 1
    assert "finished run on other data: their checksum was same and" in capfd.readouterr().err


def test_older_code_counts_and_is_repeated_only_if_asked(
    study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert study("good") == 0
    folder = folder_of(tmp_path, "good")
    record = json.loads((folder / "run.json").read_text())
    record["code"] = {"commit": "0123456789abcdef", "uncommitted_changes": False}
    (folder / "run.json").write_text(json.dumps(record))
    capfd.readouterr()
    assert study() == 0
    out = capfd.readouterr().out
    assert "already finished by older code (0123456; --stale repeats it)" in out
    assert cli.main(["list", "ofat"], tmp_path) == 0
    assert "(older code: 0123456)" in capfd.readouterr().out
    assert study(arguments=("--stale",)) == 0
    assert "starting good" in capfd.readouterr().out
    kept = tmp_path / "work_dirs" / "older" / "ofat_good_0123456"
    assert run_status(kept) == "finished" and run_status(folder) == "finished"
    assert study(arguments=("--stale",)) == 0
    assert "starting" not in capfd.readouterr().out


def test_a_run_of_another_process_is_left_alone(
    study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    start_record(folder_of(tmp_path, "good"), [])
    assert study("good", "other") == 1
    out, err = capfd.readouterr()
    assert f"not started: process {os.getpid()} on" in err
    assert "starting good" not in out and "starting other" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train.max_itre=1",), "Did you mean 'train.max_iter'"),
        (("--only", "god"), "There is no experiment 'god'. Did you mean 'good'"),
        (("train.output_dir=x",), "good and other have the same train.output_dir"),
    ],
)
def test_nothing_starts_when_the_command_is_wrong(
    study: Study, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    assert study("good", "other", arguments=arguments) == 2
    out, err = capfd.readouterr()
    assert sentence in err
    assert "starting" not in out


def test_a_folder_that_cannot_be_written_is_a_sentence(
    study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    arguments = ("train.output_dir=file/run", "--only", "good")
    assert study("good", arguments=arguments) == 1
    assert "not started: " in capfd.readouterr().err


def start_runner(root: Path, slots: int) -> subprocess.Popen[str]:
    (root / "fake.py").write_text(SCRIPT)
    command = [sys.executable, "-u", "-c", RUNNER, str(root), str(slots)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("slots", [1, 2])
def test_stops_cleanly_and_goes_on(tmp_path: Path, number: int, slots: int) -> None:
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


def test_a_killed_runner_loses_nothing(tmp_path: Path) -> None:
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
    os.kill(record.pid, signal.SIGKILL)
    wait_for(lambda: run_status(long) == "interrupted")
    os.kill(read_record(folder_of(tmp_path, "longer")).pid, signal.SIGTERM)
    out, _ = second.communicate(timeout=30)
    assert f"not started: process {record.pid} on" in out
    (long / "checkpoint").touch()
    third, _ = start_runner(tmp_path, 1).communicate(timeout=30)
    assert third.count("is_finished=True") == 3
    assert read_record(long).attempts == 2


def test_a_run_that_does_not_stop_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "KILL_SECONDS", 0.2)
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "for s in (2, 15): signal.signal(s, signal.SIG_IGN)\n"
        "if sys.argv[1:]: subprocess.Popen([sys.executable, __file__], start_new_session=True)\n"
        "else: open('up', 'w').close()\n"
        "time.sleep(60)"
    )
    (tmp_path / "stubborn.py").write_text(stubborn)
    command = [sys.executable, "stubborn.py", "parent"]
    process = processes.RunProcess(tmp_path / "run", command, tmp_path)
    wait_for((tmp_path / "up").exists)
    (child,) = processes.descendants(process.pid)
    process.end()
    assert process.exit_code() == -signal.SIGKILL
    wait_for(lambda: process_start(child.pid) is None)


def test_a_second_request_ends_runs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "KILL_SECONDS", 0.2)
    monkeypatch.setattr(runner, "STOP_SECONDS", 600)
    (tmp_path / "deaf.py").write_text(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nopen('up', 'w').close()\n"
        "time.sleep(60)"
    )
    process = processes.RunProcess(tmp_path / "run", [sys.executable, "deaf.py"], tmp_path)
    wait_for((tmp_path / "up").exists)
    requests = runner.Requests(1, "SIGINT")

    class Display:
        def say(self, text: str) -> None: ...

        def update(self) -> None:
            requests.count = 2  # as the handler of a second Ctrl-C does

    stopping = runner.Runner([], tmp_path, runner.RunOptions(), Display())  # type: ignore[arg-type]
    stopping.active.append(runner.Attempt(None, process, runner.GpuLease()))  # type: ignore[arg-type]
    stopping.stop(requests)
    assert process.exit_code() == -signal.SIGKILL


PLAIN = """
import torch
from detectron2.config import LazyCall as L

model = L(torch.nn.Linear)(in_features=3, out_features=4)
optimizer = L(torch.optim.SGD)(lr=0.1)
train = dict(output_dir="work_dirs/ofat_NAME", max_iter=10, device="cpu")
"""


def test_configs_without_experiment_are_planned_run_listed_and_tabled(
    study: Study, tmp_path: Path, write_config: WriteConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "other"):
        write_config(name).write_text(PLAIN.replace("NAME", name))
    assert cli.main(["plan", "ofat"], tmp_path) == 0
    assert study() == 0
    assert cli.main(["list", "ofat"], tmp_path) == 0
    out = capfd.readouterr().out
    assert "Total: 2 runs, 20 iterations" in out
    assert all(f"starting {name}" in out for name in ("good", "other"))
    assert "ofat_good" in (tmp_path / "work_dirs" / "ofat_table.md").read_text()
    assert out.count("finished     work_dirs/ofat_") == 2
    assert study(arguments=("--seeds", "2")) == 2, "without train.seed there are no others"
