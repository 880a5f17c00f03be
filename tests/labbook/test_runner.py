"""The runner over a training script that only pretends: skip, resume, go on, stop, report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labbook import cli, runner
from labbook.configs import load_config, save_config
from labbook.records import read_record, run_status, start_record

WriteConfig = Callable[..., Path]

# Acts as its experiment's name says; writes what a real run writes, as far as the runner looks.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from labbook.records import finish_record, start_record, write_results

name = Path(sys.argv[sys.argv.index("--config-file") + 1]).stem
folder = Path("work_dirs") / f"ofat_{name.removeprefix('ofat_')}"
print("starting", name, sys.argv[1:], flush=True)
if "crash" in name:
    print("\\n".join(f"line {i}" for i in range(40)))
    raise ImportError("before the record")
start_record(folder, sys.argv)
saved = Path(f"{name}.saved.yaml")
if saved.exists():
    (folder / "config.yaml").write_text(saved.read_text())
if "killed" in name and not (folder / "checkpoint").exists():
    (folder / "checkpoint").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if "fails" in name:
    finish_record(folder, "failed", "the loss is not finite")
    sys.exit(1)
try:
    time.sleep(60 if "long" in name else 0)
except KeyboardInterrupt:
    finish_record(folder, "interrupted", "SIGINT")
    sys.exit(130)
write_results(folder, {"valid": {"bbox/AP50": 50.0}, "test": {}})
finish_record(folder, "finished", "done")
"""

RUNNER = """
import sys
from pathlib import Path
from labbook import runner
from labbook.runner import Job, run_jobs
from omegaconf import OmegaConf

root = Path(sys.argv[1])
jobs = [
    Job(name, Path(f"{name}.py"), root / "work_dirs" / f"ofat_{name}", OmegaConf.create({}))
    for name in ("long", "good")
]
runner.TRAIN_SCRIPT = "fake.py"
print(run_jobs(jobs, root, []))
"""


@pytest.fixture
def study(
    tmp_path: Path, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """``study("good", "fails")`` writes these configs; the rest is the command line of a run."""
    (tmp_path / "fake.py").write_text(SCRIPT)
    monkeypatch.setattr(runner, "TRAIN_SCRIPT", "fake.py")

    def run(*names: str, arguments: tuple[str, ...] = ()) -> int:
        for name in names:
            write_config(name)
        return cli.main(["run", "ofat", *arguments], tmp_path)

    return run


def folder_of(root: Path, name: str) -> Path:
    return root / "work_dirs" / f"ofat_{name}"


def test_goes_on_past_failures_and_reports(
    study: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert study("a_crash", "b_fails", "c_killed", "d_good") == 1
    out, err = capfd.readouterr()
    states = {name[0]: run_status(folder_of(tmp_path, name)) for name in
              ("a_crash", "b_fails", "c_killed", "d_good")}  # fmt: skip
    assert states == {"a": "new", "b": "failed", "c": "interrupted", "d": "finished"}
    assert "ImportError: before the record" in out, "the child's output reaches the terminal"
    assert (
        "ImportError: before the record"
        in (folder_of(tmp_path, "a_crash") / "console.txt").read_text()
    )
    assert "line 39" in err and "line 20" not in err, "the last 20 lines of the log"
    assert "killed by SIGKILL" in err
    assert "b_fails did not finish: its process ended with status 1" in err
    assert "d_good" not in err
    table = (tmp_path / "work_dirs" / "ofat_table.md").read_text()
    assert "FAILED; optimizer.lr" not in table  # the fake saved no config
    assert "FAILED; the loss is not finite" in table
    assert "INTERRUPTED" in table and "50.0 / -" in table


def test_skips_finished_and_resumes_interrupted(
    study: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert study("c_killed", "d_good") == 1
    capfd.readouterr()
    assert study(arguments=("train.epochs=100",)) == 0
    out, _ = capfd.readouterr()
    assert "starting d_good" not in out and "already finished" in out
    assert "'--resume', 'train.epochs=100']" in out
    record = read_record(folder_of(tmp_path, "c_killed"))
    assert record is not None
    assert (record.attempts, record.status) == (2, "finished")


def test_refuses_to_mix_configs(
    study: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str],
    write_config: WriteConfig,
) -> None:  # fmt: skip
    save_config(load_config(write_config("good")), tmp_path / "saved")
    (tmp_path / "good.saved.yaml").write_text((tmp_path / "saved" / "config.yaml").read_text())
    assert study() == 0
    capfd.readouterr()
    assert study(arguments=("optimizer.lr=0.5", "--only", "good")) == 1
    _, err = capfd.readouterr()
    assert "config differs in optimizer.lr (there 0.001, now 0.5). Remove" in err
    assert study(arguments=("train.device=cpu",)) == 0, "a key that is about the machine only"


def test_a_run_of_another_process_is_left_alone(
    study: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
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
    study: Callable[..., int], capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...],
    sentence: str,
) -> None:  # fmt: skip
    assert study("good", "other", arguments=arguments) == 2
    out, err = capfd.readouterr()
    assert sentence in err
    assert "starting" not in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stops_cleanly(tmp_path: Path, number: int) -> None:
    (tmp_path / "fake.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", RUNNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: run_status(folder_of(tmp_path, "long")) == "running")
    time.sleep(0.3)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert run_status(folder_of(tmp_path, "long")) == "interrupted"
    assert "The same command goes on from here" in out
    assert out.rstrip().endswith("([], True)")
    assert not folder_of(tmp_path, "good").exists()


def test_a_run_outlives_a_killed_runner(tmp_path: Path) -> None:
    (tmp_path / "fake.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path)])
    long = folder_of(tmp_path, "long")
    wait_for(lambda: run_status(long) == "running")
    process.kill()
    process.wait()
    record = read_record(long)
    assert record is not None and run_status(long) == "running"
    os.kill(record.pid, signal.SIGKILL)
    wait_for(lambda: run_status(long) == "interrupted")


def test_a_run_that_does_not_stop_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STOP_SECONDS", 0.2)
    console = tmp_path / "console.txt"
    stubborn = "import signal, time\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n"
    stubborn += "print('up', flush=True)\ntime.sleep(60)"
    with console.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", stubborn], stdout=out, start_new_session=True
        )
    wait_for(lambda: console.read_text() == "up\n")
    runner._stop(process, console)
    assert process.returncode == -signal.SIGKILL


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
