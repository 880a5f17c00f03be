"""The notes at the start and the end of a run say what its files say, and never end the run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from note_toys import CHILD, make_run, results, start_run, write_metrics
from omegaconf import OmegaConf
from run_toys import change_record

from labbook.config.load import load_config
from labbook.run.notes import (
    DIFF,
    START_NOTES,
    SUMMARY,
    Lineage,
    find_lineage,
    shell_command,
    write_start_notes,
    write_summary,
)
from runfolder.names import CONFIG
from runfolder.records import RunRecord, finish_record, read_record, start_record, write_results
from runfolder.run import read_run


@pytest.fixture
def study(write_config, tmp_path) -> tuple[Path, Path]:
    """Config files of a baseline and of a child that moves the learning rate."""
    return write_config("baseline"), write_config("ofat_fast", *CHILD)


def lineage_of(folder: Path) -> Lineage:
    record = read_record(folder)
    cfg = load_config(record.config_file, record.overrides)
    return find_lineage(cfg, folder, Path(record.config_file), record.overrides)


def notes(folder: Path) -> dict[str, str]:
    write_start_notes(folder, lineage_of(folder))
    return {name: (folder / name).read_text() for name in START_NOTES}


def summary(folder: Path) -> str:
    write_summary(folder, lineage_of(folder))
    return (folder / SUMMARY).read_text()


def test_all_notes_of_an_experiment(study, tmp_path):
    texts = notes(start_run(study[1], tmp_path / "ofat_fast", ["dataloader.workers=0"]))
    hypothesis, details, command, code, diff = texts.values()
    assert "Faster." in hypothesis and "bbox/AP50 > 55, final_loss < 0.1" in hypothesis
    assert "optimizer.lr = 0.01" in hypothesis and "ofat_baseline" in hypothesis
    assert "optimizer.lr: 0.001 -> 0.01" in details and "dataloader.workers=0" in details
    starts = [line for line in command.splitlines() if line and not line.startswith("#")]
    (line,) = starts  # a shell takes the file
    assert line.startswith(f"python tools/lazyconfig_train_net.py --config-file {study[1]} ")
    assert "lab.py reproduce" in command
    assert "Commit: " in code or "no git checkout" in code
    assert "ofat_baseline" in diff and "0.001 -> 0.01" in diff
    assert "workers" not in diff  # an override holds for the parent too


def test_a_baseline_has_nothing_to_differ_from(study, tmp_path):
    texts = notes(start_run(study[0], tmp_path / "ofat_baseline"))
    assert "it is a baseline" in texts["experiment_hypothesis.txt"]
    assert "none were declared" in texts["experiment_hypothesis.txt"]
    assert "baseline" in texts["modification_details.txt"] and "baseline" in texts[DIFF]
    assert "unknown" not in texts["modification_details.txt"]
    lineage = lineage_of(tmp_path / "ofat_baseline")
    change_record(tmp_path / "ofat_baseline", overrides=None, config_file=None)  # an old record
    write_start_notes(tmp_path / "ofat_baseline", lineage)
    assert "unknown" in (tmp_path / "ofat_baseline" / "modification_details.txt").read_text()


@pytest.fixture
def moved(study, tmp_path_factory) -> Path:
    """The child's config file in a folder that no study is above."""
    path = tmp_path_factory.mktemp("elsewhere") / "mine.py"
    path.write_text(study[1].read_text())
    return path


def test_where_no_study_is_the_run_beside_it_is_the_parent(study, moved, tmp_path):
    make_run(study[0], tmp_path / "runs" / "ofat_baseline", 50.0)
    texts = notes(start_run(moved, tmp_path / "runs" / "mine"))
    details = texts["modification_details.txt"]
    assert "run folder ofat_baseline" in details and "optimizer.lr: 0.001 -> 0.01" in details
    assert "optimizer.lr  0.001 -> 0.01" in texts[DIFF]
    assert "output_dir" not in texts[DIFF] and "level" not in texts[DIFF]


def test_a_parent_that_is_nowhere_or_does_not_load_is_said(study, moved, tmp_path):
    texts = notes(start_run(moved, tmp_path / "alone"))
    assert "ofat_baseline was not found" in texts[DIFF]
    assert "ofat_baseline was not found" in texts["modification_details.txt"]
    study[0].write_text("x = ")
    texts = notes(start_run(study[1], tmp_path / "ofat_fast"))
    assert "ofat_baseline was not found" in texts[DIFF] and "baseline.py" in texts[DIFF]
    assert "optimizer.lr" in texts["experiment_hypothesis.txt"]


def test_the_configs_around_a_copied_run_are_not_run(
    study, tmp_path, tmp_path_factory, monkeypatch
):
    """A project of somebody else, with its run folders; ours is another."""
    folder = start_run(study[1], tmp_path / "work_dirs" / "ofat_fast")
    cfg = load_config(folder / CONFIG)
    here = tmp_path / "here"
    study[0].write_text(f"open({str(here)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("mine"))
    find_lineage(cfg, folder, folder / CONFIG)
    assert not here.exists()
    monkeypatch.chdir(tmp_path)  # whoever works there runs its configs
    find_lineage(cfg, folder, folder / CONFIG)
    assert here.exists()


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
    patch = {"file": "code.patch", "sha256": "0", "files": []}
    change_record(folder, code={"commit": "f00", "patch": patch})
    finish_record(folder, "interrupted", "Ctrl-C")
    start_record(folder, ["another", "--resume"], 0, str(study[1]), [])
    texts = notes(folder)
    assert "ran OTHER code" in texts["code_changes_summary.txt"]
    assert "f00" in texts["code_changes_summary.txt"]
    command = texts["training_command.txt"]
    assert "Earlier attempts:" in command and "another --resume" not in command


def test_damage_is_a_warning_and_no_end(study, tmp_path, caplog):
    folder = start_run(study[1], tmp_path / "ofat_fast")
    lineage = find_lineage(load_config(study[1]), folder)
    (folder / "config.yaml").write_text("]")
    with caplog.at_level(logging.WARNING):
        write_start_notes(folder, lineage)
        write_start_notes(tmp_path / "nowhere", lineage)
        (folder / "run.json").write_text("[")
        write_summary(folder, lineage)
    assert caplog.text.count("are not complete") == 3


def test_the_command_of_several_processes_is_as_it_was_given():
    record = RunRecord("running", ["tools/train.py", "a=1 2"], "", processes=4)
    assert shell_command(record) == "torchrun --nproc-per-node=4 tools/train.py 'a=1 2'"
    record = RunRecord("running", ["tools/train.py", "--num-gpus", "4"], "", processes=4)
    assert shell_command(record) == "python tools/train.py --num-gpus 4"


def test_a_run_without_config_or_experiment_has_notes_too(tmp_path):
    start_record(tmp_path, ["train"], None, "plain.py", ["a=1"])
    finish_record(tmp_path, "failed", "ConfigError: no such key")
    write_summary(tmp_path, Lineage(OmegaConf.create()))
    assert "no such key" in (tmp_path / SUMMARY).read_text()
    cfg = OmegaConf.create({"train": {"output_dir": str(tmp_path), "max_iter": 4}})
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    write_start_notes(tmp_path, find_lineage(cfg, tmp_path, Path("plain.py"), ["a=1"]))
    hypothesis, details, *_, diff = ((tmp_path / name).read_text() for name in START_NOTES)
    assert "No experiment is declared" in hypothesis and "plain.py" in hypothesis
    assert f"Experiment: {tmp_path.name}" in hypothesis and "Seed: None" in hypothesis
    assert "No experiment is declared" in diff and "a=1" in details


def test_a_finished_run_against_its_baseline_and_targets(study, tmp_path):
    start_run(study[0], tmp_path / "ofat_baseline")
    ema = {"valid": {"bbox/AP50": 58.0}, "test": {}}
    folder = make_run(study[1], tmp_path / "ofat_fast", 54.0, ema=ema)
    assert "Against its baseline ofat_baseline: it has no finished run" in summary(folder)
    make_run(study[0], tmp_path / "ofat_baseline", 50.0)
    text = summary(folder)
    assert "Status: finished" in text and "Reason: All 40 steps done." in text
    assert "54.00 / 52.00   averaged weights 58.00 / -" in text
    assert "APs            - / -" in text
    assert "Against its baseline ofat_baseline" in text and "+4.00 / +4.00" in text
    assert "bbox/AP50 > 55: missed" in text and "final_loss < 0.1: missed" in text
    assert "Peak memory: 1234 MB" in text and "Final training loss: 0.5" in text
    assert "Speed: 2 iterations/s" in text
    assert "Steps: 40 of 15900" in text
    assert "averaged weights (model_best_ema.pth) have 4.0 points more" in text


def test_parent_and_baseline_are_compared_with_each_of_the_same_repetition(
    study, write_config, tmp_path
):
    grandchild = write_config(
        "ofat_more", *CHILD, "train.epochs = 200", 'experiment.parent = "ofat_fast"'
    )
    make_run(study[0], tmp_path / "ofat_baseline", 50.0)
    make_run(study[1], tmp_path / "ofat_fast", 55.0)
    text = summary(make_run(grandchild, tmp_path / "ofat_more", 56.0))
    assert text.index("its baseline ofat_baseline") < text.index("its parent ofat_fast")
    assert "+6.00" in text and "+1.00" in text
    make_run(study[0], tmp_path / "ofat_baseline_seed2", 40.0)
    again = make_run(study[1], tmp_path / "ofat_fast_seed2", 54.0)
    assert "+14.00 / +14.00" in summary(again)
    third = make_run(study[1], tmp_path / "ofat_fast_seed3", 54.0)  # the baseline has no third
    assert "+4.00 / +4.00" in summary(third)


def test_a_lower_micro_batch_is_in_the_summary(study, tmp_path):
    folder = make_run(study[1], tmp_path / "ofat_fast", 60.0)
    assert "Micro-batch" not in summary(folder)
    change_record(folder, micro_batch_size=4)
    assert "Micro-batch: 4, less than configured" in summary(folder)
    change_record(folder, micro_batch_size="four")
    with pytest.raises(ValueError, match=r"micro_batch_size is 'four'"):
        read_run(folder)


def test_what_was_left_out_of_the_data_is_in_the_summary(study, tmp_path):
    found = {"train": {"recordings_left_out": 2, "boxes_too_small": 31}, "test": {"images": 1}}
    text = summary(make_run(study[1], tmp_path / "ofat_fast", 60.0, data_findings=found))
    assert "train: recordings left out 2, boxes too small 31" in text and "test: images 1" in text
    assert "left out" not in summary(make_run(study[1], tmp_path / "ofat_slow", 60.0))


def test_a_run_that_did_not_finish_tells_how_far_it_came_and_how_to_go_on(study, tmp_path):
    folder = start_run(study[1], tmp_path / "ofat_fast")
    finish_record(folder, "interrupted", "Interrupted; --resume goes on.")
    text = summary(folder)
    assert "Steps: 0 of 15900" in text and "--resume goes on from the last checkpoint" in text
    start_run(study[1], folder)
    write_metrics(folder, [{"total_loss": 3.0, "time": 0.5, "memory_mb": 100.0}] * 3)
    write_results(folder, results(99.0))  # of an earlier end; not this one's
    finish_record(folder, "failed", "NonFiniteLoss: A loss was not finite at iteration 30")
    record = read_record(folder)
    assert (record.iterations, record.iterations_per_second) == (30, 2.0)
    assert (record.final_loss, record.peak_memory_mb) == (3.0, 100.0)
    assert record.data_fingerprint == "abc"
    text = summary(folder)
    assert "Status: failed" in text and "Steps: 30 of 15900" in text
    assert "nan_dump.pth" in text
    assert "Scores" not in text, "those are of an earlier end"
