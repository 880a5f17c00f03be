"""The key of a run changes with what it measures, and with nothing else."""

from __future__ import annotations

import pytest

from labbook.config.load import load_config
from labbook.run.ledger import data_fingerprint, entry_of, move_aside, older_code
from runfolder.records import RunRecord


@pytest.mark.parametrize(
    ("override", "config_changes", "key_changes"),
    [
        ("optimizer.lr=0.5", True, True),
        ("train.epochs=50", True, True),
        ("dataset.root=elsewhere", True, True),
        ("train.seed=1", False, True),
        ("train.device=cpu", False, False),
        ("train.output_dir=x", False, False),
        ("experiment.level=other", False, False),
    ],
)
def test_what_a_key_depends_on(write_config, override, config_changes, key_changes):
    path = write_config()
    before, after = entry_of(load_config(path)), entry_of(load_config(path, [override]))
    assert (before["config"] != after["config"]) is config_changes
    assert (before["key"] != after["key"]) is key_changes


def test_data_are_part_of_the_key(write_config):
    cfg = load_config(write_config())
    assert len({entry_of(cfg, data)["key"] for data in ("a", "b", None)}) == 3


def test_data_that_are_not_there_are_not_asked_for(tmp_path):
    section = {"_target_": "labbook_toys.Data", "root": "data"}
    assert data_fingerprint(section, tmp_path) is None
    (tmp_path / "data").mkdir()
    assert data_fingerprint(section, tmp_path) is None, "an error is no checksum"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "checksum").write_text("abc")
    assert data_fingerprint({**section, "root": "other"}, tmp_path) == "abc"
    assert data_fingerprint({"_target_": "labbook_toys.Box", "root": "other"}, tmp_path) is None


def test_older_code_is_another_known_commit():
    record = RunRecord("finished", [], "", code={"commit": "a" * 40})
    assert older_code(record, {"commit": "b" * 40}) == "a" * 7
    assert older_code(record, {"commit": "a" * 40}) is None
    assert older_code(record, {"commit": None}) is None
    assert older_code(RunRecord("finished", [], ""), {"commit": "b" * 40}) is None
    assert older_code(None, {"commit": "b" * 40}) is None


def test_runs_that_are_moved_aside_never_meet(tmp_path):
    for number, name in enumerate(("run_0123456", "run_0123456_2")):
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "file").write_text(str(number))
        assert move_aside(folder, "0123456") == tmp_path / "older" / name
        assert (tmp_path / "older" / name / "file").read_text() == str(number)
