"""Run records tell what became of a run, also of one that could not say so itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from runfolder import provenance, records
from runfolder.checkpoints import checkpoint_name, last_checkpoint
from runfolder.provenance import code_version, devices, environment, own_code, process_start
from runfolder.records import (
    RunIsRunningError,
    finish_record,
    has_checkpoint,
    read_record,
    read_results,
    run_status,
    start_record,
    write_results,
)


def change(folder: Path, **values: object) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    assert run_status(tmp_path / "nothing") == "new"
    started = start_record(tmp_path, ["train.py", "a=1"], seed=3)
    assert run_status(tmp_path) == "running"
    assert (started.command, started.seed, started.pid) == (["train.py", "a=1"], 3, os.getpid())
    assert started.environment["omegaconf"] is not None
    finish_record(tmp_path, "finished", "all iterations done")
    ended = read_record(tmp_path)
    assert ended is not None
    assert run_status(tmp_path) == ended.status == "finished"
    assert ended.exit_reason == "all iterations done"
    assert ended.end is not None and ended.end >= ended.start
    assert list(tmp_path.glob(".*")) == [], "temporary files stay behind"


def test_a_run_whose_process_has_gone_was_interrupted(tmp_path: Path, dead_pid: int) -> None:
    for gone in ({"pid": dead_pid}, {"process_start": "1"}):  # or its number is used again
        change(tmp_path, **asdict(start_record(tmp_path, [])) | gone)
        assert run_status(tmp_path) == "interrupted"


def test_a_dead_child_that_nobody_waited_for_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 10
    while process_start(process.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process_start(process.pid) is None
    process.wait()


def test_on_another_machine_the_log_decides(tmp_path: Path) -> None:
    start_record(tmp_path, [])
    change(tmp_path, host="elsewhere")
    assert run_status(tmp_path) == "interrupted"
    (tmp_path / "log.txt").write_text("iteration 1")
    assert run_status(tmp_path) == "running"
    with pytest.raises(RunIsRunningError, match=r"on elsewhere is already running"):
        start_record(tmp_path, [])
    old = time.time() - 2 * records._LIVE_SECONDS
    os.utime(tmp_path / "log.txt", (old, old))
    assert run_status(tmp_path) == "interrupted"


def test_resuming_keeps_the_first_start_and_adds_time(tmp_path: Path) -> None:
    first = start_record(tmp_path, [])
    change(tmp_path, attempt_start="2020-01-01T00:00:00+00:00")
    before = finish_record(tmp_path, "interrupted", "SIGTERM").seconds
    second = start_record(tmp_path, [])
    assert (second.start, second.attempts) == (first.start, 2)
    assert second.exit_reason is None
    assert finish_record(tmp_path, "failed", "out of memory").seconds >= before > 1e8


def test_wrong_ends_and_broken_files_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a started run"):
        finish_record(tmp_path, "finished", "")
    start_record(tmp_path, [])
    with pytest.raises(ValueError, match=r"as 'done'"):
        finish_record(tmp_path, "done", "")
    (tmp_path / "run.json").write_text('{"status": "finish')
    with pytest.raises(ValueError, match=r"run.json is not JSON"):
        run_status(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="is no run record"):
        run_status(tmp_path)


def test_results_are_strict_json(tmp_path: Path) -> None:
    assert read_results(tmp_path) is None
    scores = {"valid": {"bbox/AP": float("nan"), "bbox/AP50": np.float32(0.5)}, "best_epoch": 3}
    write_results(tmp_path, {**scores, "times": (1, np.int64(2), float("inf"))})
    assert read_results(tmp_path) == {
        "valid": {"bbox/AP": None, "bbox/AP50": 0.5},
        "best_epoch": 3,
        "times": [1, 2, None],
    }


def test_earlier_attempts_are_kept(tmp_path: Path, dead_pid: int) -> None:
    start_record(tmp_path, ["train", "1"])
    change(tmp_path, pid=dead_pid)  # killed
    start_record(tmp_path, ["train", "2"])
    finish_record(tmp_path, "failed", "no data")
    record = start_record(tmp_path, ["train", "3"])
    assert [(a["command"][1], a["exit_reason"]) for a in record.earlier] == [
        ("1", "Its process was killed."),
        ("2", "no data"),
    ]
    assert all(a["code"].keys() == record.code.keys() for a in record.earlier)


def test_the_end_has_the_numbers_of_the_results(tmp_path: Path) -> None:
    start_record(tmp_path, [])
    numbers = {"iterations": 8, "final_loss": 0.5, "data_fingerprint": "abc"}
    numbers["data_findings"] = {"train": {"recordings_left_out": 2}}
    write_results(tmp_path, {**numbers, "seconds_per_iteration": 0.25, "peak_memory_mb": 5.0})
    record = finish_record(tmp_path, "finished", "done")
    assert {name: getattr(record, name) for name in numbers} == numbers
    assert (record.iterations_per_second, record.peak_memory_mb) == (4.0, 5.0)


def test_a_run_that_ends_before_its_first_step_has_no_numbers(tmp_path: Path) -> None:
    start_record(tmp_path, [])
    (tmp_path / "metrics.json").write_text('{"iteration": 3}\nnot json\n[1]\n{"total_lo')
    record = finish_record(tmp_path, "failed", "no data")
    assert (record.iterations, record.final_loss, record.data_fingerprint) == (None, None, None)


def test_records_of_before_there_were_more_fields_are_read(tmp_path: Path) -> None:
    old = {"status": "finished", "command": ["train"], "start": "2020-01-01T00:00:00Z"}
    (tmp_path / "run.json").write_text(json.dumps(old))
    record = read_record(tmp_path)
    assert record is not None and record.earlier == [] and record.iterations is None


@pytest.mark.parametrize("visible", ["", "0"])
def test_provenance_never_fails(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = devices()
    assert found["cpu"] and isinstance(found["gpus"], list)
    assert found["gpus"] == [] or visible
    assert set(code_version()) == {"commit", "uncommitted_changes"}
    assert environment()["python"] == sys.version.split()[0]


def test_a_later_commit_is_the_checkouts_and_not_that_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = own_code()
    monkeypatch.setattr(provenance, "git", lambda *_: b"b" * 40)
    assert code_version()["commit"] == "b" * 40 != own["commit"]
    assert own_code() == own


@pytest.mark.parametrize("name", ["last_checkpoint", "model_0000004.pth"])  # named later, if ever
def test_a_folder_with_a_checkpoint_holds_a_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "model_best.pth").touch()
    assert not has_checkpoint(tmp_path, resume=False)
    (tmp_path / name).touch()
    assert has_checkpoint(tmp_path, resume=True)
    with pytest.raises(FileExistsError, match="--resume"):
        has_checkpoint(tmp_path, resume=False)


def test_the_last_checkpoint_is_the_one_named_or_else_the_newest(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for steps in (9, 1000, 200):
        (tmp_path / f"{checkpoint_name(steps)}.pth").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "model_0001000.pth"
    (tmp_path / "last_checkpoint").write_text("model_0000200.pth\n")
    assert last_checkpoint(tmp_path) == tmp_path / "model_0000200.pth"
    (tmp_path / "last_checkpoint").write_text("")
    assert last_checkpoint(tmp_path) is None
