"""The key of a run changes with what it measures, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labbook.config.load import load_config
from labbook.run.ledger import (
    LedgerEntry,
    data_fingerprint,
    entry_of,
    move_aside,
    older_code,
    read_entry,
)
from runfolder.names import LEDGER
from runfolder.records import RunRecord

WriteConfig = Callable[..., Path]


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
def test_what_a_key_depends_on(
    write_config: WriteConfig, override: str, config_changes: bool, key_changes: bool
) -> None:
    path = write_config()
    before, after = entry_of(load_config(path)), entry_of(load_config(path, [override]))
    assert (before.config != after.config) is config_changes
    assert (before.key != after.key) is key_changes


def test_data_are_part_of_the_key() -> None:
    assert LedgerEntry("c", 1, "a").key != LedgerEntry("c", 1, "b").key
    assert LedgerEntry("c", 1, None).key == LedgerEntry("c", 1).key


def test_data_that_are_not_there_are_not_asked_for(tmp_path: Path) -> None:
    section = {"_target_": "labbook_toys.Data", "root": "data"}
    assert data_fingerprint(section, tmp_path) is None
    (tmp_path / "data").mkdir()
    assert data_fingerprint(section, tmp_path) is None, "an error is no checksum"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "checksum").write_text("abc")
    assert data_fingerprint({**section, "root": "other"}, tmp_path) == "abc"
    assert data_fingerprint({"_target_": "labbook_toys.Box", "root": "other"}, tmp_path) is None


def test_older_code_is_another_known_commit() -> None:
    record = RunRecord("finished", [], "", code={"commit": "a" * 40})
    assert older_code(record, {"commit": "b" * 40}) == "a" * 7
    assert older_code(record, {"commit": "a" * 40}) is None
    assert older_code(record, {"commit": None}) is None
    assert older_code(RunRecord("finished", [], ""), {"commit": "b" * 40}) is None
    assert older_code(None, {"commit": "b" * 40}) is None


def test_runs_that_are_moved_aside_never_meet(tmp_path: Path) -> None:
    names = []
    for content in "ab":
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "file").write_text(content)
        names.append(move_aside(folder, "0123456"))
    assert [path.relative_to(tmp_path).as_posix() for path in names] == [
        "older/run_0123456",
        "older/run_0123456_2",
    ]
    assert [(path / "file").read_text() for path in names] == ["a", "b"]


def test_a_damaged_entry_is_a_sentence(tmp_path: Path) -> None:
    assert read_entry(tmp_path) is None
    (tmp_path / LEDGER).write_text('{"config": "c"}')
    with pytest.raises(ValueError, match=r"ledger.json lacks 'seed'. Remove it"):
        read_entry(tmp_path)
