"""A training process and its run folder: held, recorded, refused."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from labbook.run import session
from labbook.run.ledger import read_entry
from labbook.run.notes import START_NOTES, SUMMARY
from labbook.run.session import recorded_run, sentence_of, writable_folder
from runfolder.records import read_record
from runfolder.run import read_run


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    """A config that needs no saving."""
    monkeypatch.setattr(session, "save_config", lambda cfg, folder: None)
    return OmegaConf.create({"train": {"output_dir": str(tmp_path / "run"), "seed": 3}})


def status(cfg) -> tuple[str, str]:
    record = read_record(cfg.train.output_dir)
    return record.status, record.exit_reason


def test_a_run_that_ends_is_finished_with_its_peak_memory(cfg):
    with recorded_run(cfg, ["train"], resume=False) as folder:
        assert read_record(folder).status == "running"
        (folder / "results.json").write_text(json.dumps({"peak_memory_mb": 12.5}))
    assert status(cfg)[0] == "finished"
    assert read_record(folder).peak_memory_mb == 12.5


@pytest.mark.parametrize(
    ("error", "expected"),
    [(KeyboardInterrupt(), "interrupted"), (ValueError("no data"), "failed")],
)
def test_how_a_run_ended_is_written_down_and_passed_on(cfg, error, expected):
    with pytest.raises(type(error)), recorded_run(cfg, ["train"], resume=False):
        raise error
    assert status(cfg)[0] == expected
    if expected == "failed":
        assert status(cfg)[1] == "ValueError: no data"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_request_to_end_is_an_interruption(cfg, number):
    with pytest.raises(KeyboardInterrupt), recorded_run(cfg, ["train"], resume=False):
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert status(cfg)[0] == "interrupted"
    assert signal.getsignal(number) == signal.SIG_DFL


def test_the_ledger_knows_the_data_when_the_run_has_ended(cfg):
    with recorded_run(cfg, ["train"], resume=False) as folder:
        before = read_entry(folder)
        (folder / "results.json").write_text(json.dumps({"data_fingerprint": "abc"}))
    after = read_entry(folder)
    assert (before.seed, before.data) == (3, None)
    assert (after.config, after.seed, after.data) == (before.config, 3, "abc")
    assert before.key != after.key


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


def test_a_start_that_failed_before_any_checkpoint_does_not_block_the_next(cfg):
    with pytest.raises(ValueError), recorded_run(cfg, ["train"], resume=False):
        raise ValueError("train.images is wrong")
    with recorded_run(cfg, ["train"], resume=True):
        pass
    assert status(cfg)[0] == "finished"


def test_an_unwritable_folder_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"train\.output_dir=.* cannot be written"):
        writable_folder(str(tmp_path / "file" / "run"))


def test_the_sentence_of_an_error_from_a_data_loading_process():
    text = (
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback\nValueError: a b\n"
    )
    assert sentence_of(ValueError(text)) == "a b"
    assert sentence_of(ValueError("plain")) == "plain"


def test_a_config_without_experiment_and_seed_is_recorded(tmp_path):
    content = {
        "train": {"output_dir": str(tmp_path / "mine"), "max_iter": 4},
        "model": {"depth": 3},
    }
    command = ["train", "a=1"]
    with recorded_run(OmegaConf.create(content), command, False, "plain.py", ["a=1"], 2) as folder:
        pass
    run = read_run(folder)
    assert (run.status, run.name, run.seed, run.experiment) == ("finished", "mine", None, {})
    assert run.record.config_file == "plain.py" and run.record.overrides == ["a=1"]
    assert run.record.processes == 2
    assert read_entry(folder).seed is None
    assert {*START_NOTES, SUMMARY} <= {path.name for path in folder.iterdir()}
