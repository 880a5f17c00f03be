"""What differs today from a run's record, and the command that repeats it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from note_toys import CHILD, make_run
from run_toys import change_record

from labbook.cli import main
from labbook.config.studies import get_study
from labbook.results.collect import study_runs
from labbook.run import ledger, reproduce
from labbook.run.reproduce import checks, compare_results, find_run, repeat_command
from runfolder.run import read_run

TRAIN_SCRIPT = "tools/train.py"


@pytest.fixture
def folder(write_config, tmp_path, monkeypatch) -> Path:
    """A finished run in ``work_dirs``, of today's code, packages and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "coco").mkdir(parents=True)
    (tmp_path / "here" / "coco" / "checksum").write_text("abc")
    ledger._fingerprint.cache_clear()
    write_config("baseline")
    config = write_config("ofat_fast", *CHILD).relative_to(tmp_path)
    return make_run(config, tmp_path / "work_dirs" / "ofat_fast", 54.0)


def found(folder: Path) -> dict[str, tuple[bool | None, str]]:
    rows = checks(read_run(folder), folder.parents[1])
    return {check.what: (check.is_same, check.detail) for check in rows}


def test_each_difference_is_found_and_named(folder, write_config, tmp_path, monkeypatch):
    now = {"commit": "b" * 40, "uncommitted_changes": True}
    monkeypatch.setattr(reproduce, "code_version", lambda: now)
    patch = {"file": "code.patch", "sha256": "c" * 64, "files": ["a.py (+1 -0)"]}
    change_record(folder, code={"commit": "a" * 40, "patch": patch})
    change_record(folder, environment={"torch": "0.1"}, devices={"gpus": ["Some GPU"], "cpu": "x"})
    (tmp_path / "here" / "coco" / "checksum").write_text("other")
    write_config("ofat_fast", *CHILD, "optimizer.weight_decay = 0.2")
    rows = found(folder)
    assert {what for what, (is_same, _) in rows.items() if is_same is False} == set(rows)
    assert f"git checkout {'a' * 40}" in rows["commit"][1]
    assert "git apply code.patch" in rows["patch"][1]
    assert "torch 0.1 -> " in rows["packages"][1]
    assert "abc then, other now" in rows["data"][1]
    assert "optimizer.weight_decay 0.1 -> 0.2" in rows["config"][1]
    assert "Some GPU then" in rows["device"][1]


def test_what_cannot_be_told_is_not_called_a_difference(folder, tmp_path):
    (tmp_path / "configs" / "ofat" / "ofat_fast.py").unlink()
    is_same, sentence = found(folder)["config"]
    assert is_same is None and "There is no config file" in sentence
    change_record(folder, code={"commit": None}, devices={"gpus": [], "cpu": ""})
    change_record(folder, data_fingerprint="abc", config_file=None)
    (tmp_path / "here" / "coco").rename(tmp_path / "gone")
    unknown = {what for what, (is_same, _) in found(folder).items() if is_same is None}
    assert unknown >= {"commit", "patch", "data", "config"}


def test_a_copied_run_runs_nothing(folder, tmp_path, capsys):
    """Neither what its config or recorded overrides name, nor a program that it brings."""
    here = tmp_path / "here.txt"
    (tmp_path / "evil.py").write_text(
        f"open({str(here)!r}, 'w')\ndef data(**words):\n    return 1\n"
    )
    (folder / "program.py").write_text(f"open({str(here)!r}, 'w')\n")
    change_record(folder, overrides=["++dataset.generate={_target_: evil.data}"])
    path = folder / "config.yaml"
    good = path.read_text()
    path.write_text(good.replace("labbook_toys.Data", "evil.data"))
    sys.path.insert(0, str(tmp_path))
    try:
        rows = found(folder)
        assert "--trust evil" in rows["data"][1] and "--trust evil" in rows["config"][1]
        change_record(folder, config_file=str(folder / "program.py"))
        assert "outside of configs/" in found(folder)["config"][1]
        assert not here.exists() and "evil" not in sys.modules
    finally:
        sys.path.remove(str(tmp_path))
    path.write_text(good)
    main(["reproduce", folder.name, "--trust", "labbook_toys"], tmp_path, TRAIN_SCRIPT)
    assert f"{TRAIN_SCRIPT} --trust labbook_toys --config-file" in capsys.readouterr().out


def test_the_command_trains_the_saved_config_into_a_new_folder(folder, tmp_path):
    command, target = repeat_command(read_run(folder), tmp_path, TRAIN_SCRIPT)
    assert " ".join(command) == (
        f"{sys.executable} {TRAIN_SCRIPT} --config-file work_dirs/ofat_fast/config.yaml "
        "train.output_dir=work_dirs/ofat_fast_repeat"
    )
    target.mkdir()
    assert repeat_command(read_run(folder), tmp_path, TRAIN_SCRIPT)[1].name == "ofat_fast_repeat2"
    change_record(folder, processes=2)
    command, _ = repeat_command(read_run(folder), tmp_path, TRAIN_SCRIPT)
    assert "--nproc-per-node=2" in command
    change_record(folder, micro_batch_size=3)
    command, _ = repeat_command(read_run(folder), tmp_path, TRAIN_SCRIPT)
    assert command[-1] == "train.micro_batch_size=3"
    change_record(folder, micro_batch_size=None)
    odd = tmp_path / "work_dirs" / "it's a run"
    folder.rename(odd)
    command, _ = repeat_command(read_run(odd), tmp_path, TRAIN_SCRIPT)
    assert command[-1].startswith("train.output_dir='")


def test_results_are_compared_to_the_last_digit(folder, write_config, tmp_path):
    again = make_run(tmp_path / "configs/ofat/ofat_fast.py", tmp_path / "again", 54.5)
    same, *_ = compare_results(read_run(folder), read_run(folder))
    other, *_ = compare_results(read_run(folder), read_run(again))
    assert same.endswith("54.0 then, 54.0 now (the same)")
    assert other.endswith("54.0 then, 54.5 now (+0.5)")


def test_a_run_is_found_by_name_and_by_path(folder, tmp_path, monkeypatch):
    for name in ("ofat_fast", "work_dirs/ofat_fast"):
        assert find_run(name, tmp_path).folder.resolve() == folder
    monkeypatch.chdir(folder)
    assert find_run(".", tmp_path).folder.resolve() == folder
    with pytest.raises(ValueError, match="Did you mean 'ofat_fast'"):
        find_run("ofat_fats", tmp_path)


def test_every_name_in_the_tables_is_found(folder, tmp_path):
    """That of a further run, and one in the work folder of another study."""
    config = (tmp_path / "configs/ofat/ofat_fast.py").relative_to(tmp_path)
    further = make_run(config, folder.with_name("fast_again"), 55.0)
    elsewhere = make_run(config, tmp_path / "out" / "mine_fast", 55.0)
    study = tmp_path / "configs" / "mine"
    study.mkdir()
    (study / "study.yaml").write_text("work_dir: out\n")
    titles = study_runs(get_study("ofat", tmp_path), tmp_path)["title"]
    assert sorted(titles) == ["ofat_fast", "ofat_fast (fast_again)"]
    for title, run in zip(sorted(titles), (folder, further), strict=True):
        assert find_run(title, tmp_path).folder.resolve() == run
    assert find_run("mine_fast", tmp_path).folder.resolve() == elsewhere
    with pytest.raises(ValueError, match="Did you mean 'mine_fast'"):
        find_run("mine_fats", tmp_path)
    with pytest.raises(ValueError):
        find_run("mine_fast", tmp_path, debug=True)


SCRIPT = """
import shutil, sys
target = sys.argv[-1].partition("=")[2]
shutil.copytree("work_dirs/ofat_fast", target)
"""


def test_the_command_line_checks_starts_and_shows_both_results(folder, tmp_path, capsys):
    assert main(["reproduce", "ofat_fast"], tmp_path, TRAIN_SCRIPT) == 0
    shown = capsys.readouterr().out
    assert "data      same     abc" in shown and "python tools/" in shown
    change_record(folder, environment={"torch": "0.1"})
    assert main(["reproduce", "ofat_fast"], tmp_path, TRAIN_SCRIPT) == 1
    assert "packages  DIFFERS  torch 0.1" in capsys.readouterr().out
    assert main(["reproduce", "nothing"], tmp_path) == 2
    script = tmp_path / TRAIN_SCRIPT
    script.parent.mkdir()
    script.write_text(SCRIPT)
    assert main(["reproduce", "ofat_fast", "--run"], tmp_path, TRAIN_SCRIPT) == 0
    assert "54.0 then, 54.0 now (the same)" in capsys.readouterr().out
    script.write_text("raise SystemExit(3)")
    assert main(["reproduce", "ofat_fast", "--run"], tmp_path, TRAIN_SCRIPT) == 3
