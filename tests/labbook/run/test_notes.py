"""The notes at the start of a run say what its record says, and never end the run."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from note_toys import CHILD, make_run, start_run

from labbook.notes.invocation import parse_command
from labbook.notes.start import DIFF, START_NOTES, write_start_notes
from runfolder.records import finish_record, read_record, start_record


@pytest.fixture
def study(write_config, tmp_path) -> tuple[Path, Path]:
    """Config files of a baseline and of a child that moves the learning rate."""
    return write_config("baseline"), write_config("ofat_fast", *CHILD)


def notes(folder: Path) -> dict[str, str]:
    write_start_notes(folder)
    return {name: (folder / name).read_text() for name in (*START_NOTES, DIFF)}


def test_all_notes_of_an_experiment(study, tmp_path):
    texts = notes(start_run(study[1], tmp_path / "ofat_fast", ["dataloader.workers=0"]))
    hypothesis, details, command, code, diff = texts.values()
    assert "Faster." in hypothesis and "bbox/AP50 > 55, final_loss < 0.1" in hypothesis
    assert "optimizer.lr = 0.01" in hypothesis and "ofat_baseline" in hypothesis
    assert "optimizer.lr: 0.001 -> 0.01" in details and "dataloader.workers=0" in details
    assert f"python tools/lazyconfig_train_net.py --config-file {study[1]}" in command
    assert "lab.py reproduce" in command
    assert "Commit: " in code or "no git checkout" in code
    assert "ofat_baseline" in diff and "0.001 -> 0.01" in diff
    assert "workers" not in diff  # an override holds for the parent too


def test_a_baseline_has_nothing_to_differ_from(study, tmp_path):
    texts = notes(start_run(study[0], tmp_path / "ofat_baseline"))
    assert "it is a baseline" in texts["experiment_hypothesis.txt"]
    assert "none were declared" in texts["experiment_hypothesis.txt"]
    assert "baseline" in texts["modification_details.txt"] and "baseline" in texts[DIFF]


def test_a_config_of_no_study_is_compared_with_the_run_beside_it(study, tmp_path):
    make_run(study[0], tmp_path / "runs" / "ofat_baseline", 50.0)
    moved = tmp_path / "elsewhere.py"
    moved.write_text(study[1].read_text())
    texts = notes(start_run(moved, tmp_path / "runs" / "mine"))
    assert "run folder ofat_baseline" in texts[DIFF]
    assert "optimizer.lr  0.001 -> 0.01" in texts[DIFF]
    assert "output_dir" not in texts[DIFF] and "hypothesis" not in texts[DIFF]
    assert "optimizer.lr: 0.001 -> 0.01" in texts["modification_details.txt"]


def test_a_parent_that_is_nowhere_is_said(study, tmp_path):
    moved = tmp_path / "elsewhere.py"
    moved.write_text(study[1].read_text())
    texts = notes(start_run(moved, tmp_path / "alone"))
    assert "ofat_baseline was not found" in texts[DIFF]
    assert "ofat_baseline was not found" in texts["modification_details.txt"]


def test_a_parent_that_does_not_load_is_said(study, tmp_path):
    study[0].write_text("x = ")
    texts = notes(start_run(study[1], tmp_path / "ofat_fast"))
    assert "The parent's config cannot be read" in texts[DIFF]
    assert "optimizer.lr" in texts["experiment_hypothesis.txt"]


def test_a_factor_may_be_a_whole_section(write_config, tmp_path):
    write_config("baseline")
    factors = ['experiment.parent = "ofat_baseline"', 'experiment.factors = ["optimizer"]']
    child = write_config(
        "ofat_sgd", *factors, "optimizer = L(torch.optim.SGD)(params='???', lr=1e-3, momentum=0.9)"
    )
    details = notes(start_run(child, tmp_path / "ofat_sgd"))["modification_details.txt"]
    assert "optimizer.betas: [0.9, 0.999] -> absent" in details
    assert "optimizer.momentum: absent -> 0.9" in details


def test_attempts_with_other_code_and_commands_are_told_apart(study, tmp_path):
    folder = start_run(study[1], tmp_path / "ofat_fast")
    record = json.loads((folder / "run.json").read_text())
    record["code"] = {"commit": "f00", "patch": {"file": "code.patch", "sha256": "0", "files": []}}
    (folder / "run.json").write_text(json.dumps(record))
    finish_record(folder, "interrupted", "Ctrl-C")
    start_record(folder, [*record["command"], "--resume"], 0)
    texts = notes(folder)
    assert "ran OTHER code" in texts["code_changes_summary.txt"]
    assert "f00" in texts["code_changes_summary.txt"]
    assert "Earlier attempts:" in texts["training_command.txt"]


def test_damage_is_a_warning_and_no_end(study, tmp_path, caplog):
    folder = start_run(study[1], tmp_path / "ofat_fast")
    (folder / "config.yaml").write_text("]")
    with caplog.at_level(logging.WARNING):
        write_start_notes(folder)
        write_start_notes(tmp_path / "nowhere")
    assert caplog.text.count("are not complete") == 2


def test_the_command_of_several_processes_is_that_of_torchrun(study, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    folder = start_run(study[0], tmp_path / "ofat_baseline")
    assert read_record(folder).processes == 4
    assert "torchrun --nproc-per-node=4 tools/" in notes(folder)["training_command.txt"]


@pytest.mark.parametrize(
    ("words", "config", "overrides", "launch"),
    [
        (["--config-file", "a.py", "--resume", "x=1", "+y.z=2"], "a.py", ("x=1", "+y.z=2"), ()),
        (["--config-file=a.py", "--num-gpus", "2", "x=1"], "a.py", ("x=1",), ("--num-gpus", "2")),
        (["--config-file", "a.py", "--data-root", "d"], "a.py", ("dataset.root='d'",), ()),
        (["--resume"], None, (), ()),
        (["--config-file"], None, (), ()),
        ([], None, (), ()),
    ],
)
def test_commands_are_read_as_they_were_meant(words, config, overrides, launch):
    found = parse_command(["tools/train.py", *words])
    assert found.config_file == (Path(config) if config else None)
    assert (found.overrides, found.launch) == (overrides, launch)
    if config == "a.py":
        assert found.study() is None
