"""A training process and its run folder: held, recorded, refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from labbook.run import session
from labbook.run.notes import START_NOTES, SUMMARY
from labbook.run.session import recorded_loss, recorded_run, writable_folder
from runfolder import files
from runfolder.faults import KilledError, ToldError
from runfolder.files import read_json
from runfolder.names import LEDGER, LOG
from runfolder.provenance import process_start
from runfolder.records import read_record, start_record
from runfolder.run import read_run


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    """A config that needs no saving."""
    monkeypatch.setattr(session, "save_config", lambda cfg, folder: None)
    return OmegaConf.create({"train": {"output_dir": str(tmp_path / "run"), "seed": 3}})


def status(cfg) -> tuple[str, str]:
    record = read_record(cfg.train.output_dir)
    return record.status, record.exit_reason


@pytest.mark.parametrize(
    ("error", "expected", "reason"),
    [
        (KeyboardInterrupt(), "interrupted", "Interrupted"),
        (ValueError("no data"), "failed", "ValueError: no data"),
    ],
)
def test_how_a_run_ended_is_written_down_and_passed_on(cfg, error, expected, reason):
    with pytest.raises(type(error)), recorded_run(cfg, ["train"], resume=False):
        raise error
    assert status(cfg)[0] == expected and status(cfg)[1].startswith(reason)
    with recorded_run(cfg, ["train"], resume=True):  # without a checkpoint it starts anew
        pass
    assert status(cfg)[0] == "finished"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_request_to_end_is_an_interruption(cfg, number):
    with pytest.raises(KeyboardInterrupt), recorded_run(cfg, ["train"], resume=False):
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert status(cfg)[0] == "interrupted"
    assert signal.getsignal(number) == signal.SIG_DFL


def test_record_and_ledger_know_what_the_results_say_when_the_run_has_ended(cfg):
    with recorded_run(cfg, ["train"], resume=False) as folder:
        assert read_record(folder).status == "running"
        before = read_json(folder / LEDGER)
        measured = {"data_fingerprint": "abc", "peak_memory_mb": 12.5}
        (folder / "results.json").write_text(json.dumps(measured))
    assert (status(cfg)[0], read_record(folder).peak_memory_mb) == ("finished", 12.5)
    after = read_json(folder / LEDGER)
    assert (before["seed"], before["data"]) == (3, None)
    assert after == {**before, "data": "abc", "key": after["key"]}
    assert before["key"] != after["key"]


def test_a_folder_with_a_checkpoint_is_not_started_over(cfg):
    folder = Path(cfg.train.output_dir)
    folder.mkdir()
    (folder / "last_checkpoint").write_text("model_0000003.pth")
    with (
        pytest.raises(FileExistsError, match="--resume"),
        recorded_run(cfg, ["train"], resume=False),
    ):
        pytest.fail("trained over a run")
    assert read_record(folder) is None


@pytest.mark.parametrize("resume", [False, True])
def test_what_died_before_its_first_checkpoint_makes_way(tmp_path, monkeypatch, caplog, resume):
    monkeypatch.setattr(session, "write_start_notes", lambda folder, lineage: None)
    folder, aside = tmp_path / "run", tmp_path / "older" / "run_failed"
    wrong, right = (
        OmegaConf.create({"train": {"output_dir": str(folder), "max_iter": n}}) for n in (1, 2)
    )
    with pytest.raises(ValueError), recorded_run(wrong, ["train"], resume=False):
        raise ValueError("no data")
    for _ in range(2):  # the second one finds its own kind, which stays
        with pytest.raises(KeyboardInterrupt), recorded_run(right, ["train"], resume):
            raise KeyboardInterrupt
    assert str(aside) in caplog.text and read_record(aside).status == "failed"
    assert read_record(folder).attempts == 2 and len(list(aside.parent.iterdir())) == 1


def test_an_unwritable_folder_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"train\.output_dir=.* cannot be written"):
        writable_folder(str(tmp_path / "file" / "run"))


@pytest.mark.parametrize("name", ["run.json", "experiment_summary.txt"])
def test_an_end_that_cannot_be_written_does_not_hide_the_error(cfg, monkeypatch, caplog, name):
    genuine = files.write_bytes

    def write(path: Path, content: bytes) -> None:
        if path.name == name and b"not finite" in content:
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(path, content)

    monkeypatch.setattr(files, "write_bytes", write)
    loss = FloatingPointError("the loss is not finite")
    with pytest.raises(FloatingPointError) as caught, recorded_run(cfg, ["train"], resume=False):
        raise loss
    assert caught.value is loss and "No space left" in caplog.text
    assert status(cfg)[0] == ("running" if name == "run.json" else "failed")


def test_a_removed_folder_gets_a_record_and_a_log_that_say_so(cfg):
    with pytest.raises(ValueError), recorded_run(cfg, ["train", "a=1"], resume=False) as folder:
        shutil.rmtree(folder)
        raise ValueError("it is gone")
    assert status(cfg) == ("failed", "ValueError: it is gone")
    assert read_record(folder).command == ["train", "a=1"]
    assert "Traceback" in (folder / LOG).read_text()
    with recorded_run(cfg, ["train"], resume=False):  # the way is free
        pass
    assert status(cfg)[0] == "finished"


@pytest.mark.parametrize("is_alive", [False, True])
def test_others_record_the_loss_of_the_process_that_keeps_the_record(tmp_path, is_alive):
    start_record(tmp_path, [])
    start = process_start(os.getppid()) if is_alive else "of one that has gone"
    other = {"pid": os.getppid(), "process_start": start}
    (tmp_path / "run.json").write_text(json.dumps(read_json(tmp_path / "run.json") | other))
    with pytest.raises(KilledError), recorded_loss(tmp_path):
        raise KilledError("process 0")
    found = read_record(tmp_path)
    assert (found.status, found.exit_reason) == (
        ("running", None) if is_alive else ("interrupted", "KilledError: process 0")
    )


def test_a_full_disk_is_recorded_by_its_name_and_a_killed_part_as_an_interruption(cfg):
    for error, expected in (
        (OSError(errno.ENOSPC, "No space left on device", "model_0000004.pth"), "failed"),
        (KilledError("a worker"), "interrupted"),
        (ToldError("KilledError: process 1"), "interrupted"),
        (ToldError("ValueError: no data"), "failed"),
    ):
        with pytest.raises(type(error)), recorded_run(cfg, ["train"], resume=True):
            raise error
        assert status(cfg)[0] == expected and str(error.args[-1]) in status(cfg)[1]


def test_a_config_without_experiment_and_seed_is_recorded(tmp_path):
    content = {"train": {"output_dir": str(tmp_path / "mine"), "max_iter": 4}, "model": {"a": 3}}
    command = ["train", "a=1"]
    with recorded_run(OmegaConf.create(content), command, False, "plain.py", ["a=1"], 2) as folder:
        pass
    run = read_run(folder)
    assert (run.status, run.name, run.seed, run.experiment) == ("finished", "mine", None, {})
    assert run.record.config_file == "plain.py" and run.record.overrides == ["a=1"]
    assert run.record.processes == 2
    assert read_json(folder / LEDGER)["seed"] is None
    assert {*START_NOTES, SUMMARY} <= {path.name for path in folder.iterdir()}
