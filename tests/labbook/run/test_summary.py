"""The summary at the end of a run: status, findings, cost, and what its numbers suggest."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from note_toys import CHILD, make_run, results, start_run, write_metrics
from omegaconf import OmegaConf

from labbook.config.load import load_config
from labbook.run.advice import next_steps
from labbook.run.notes import SUMMARY, Lineage, find_lineage, write_summary
from runfolder.records import finish_record, read_record, start_record, write_results
from runfolder.run import read_run


@pytest.fixture
def configs(write_config) -> tuple[Path, Path]:
    return write_config("baseline"), write_config("ofat_fast", *CHILD)


def summary(folder: Path) -> str:
    record = read_record(folder)
    config_file = Path(record.config_file)
    cfg = load_config(config_file, record.overrides)
    write_summary(folder, find_lineage(cfg, folder, config_file, record.overrides))
    return (folder / SUMMARY).read_text()


def test_a_finished_run_against_its_baseline_and_targets(configs, tmp_path):
    make_run(configs[0], tmp_path / "ofat_baseline", 50.0)
    ema = {"valid": {"bbox/AP50": 58.0}, "test": {}}
    text = summary(make_run(configs[1], tmp_path / "ofat_fast", 54.0, ema=ema))
    assert "Status: finished" in text and "Reason: All 40 steps done." in text
    assert "54.00 / 52.00   averaged weights 58.00 / -" in text
    assert "APs            - / -" in text
    assert "Against its baseline ofat_baseline" in text and "+4.00 / +4.00" in text
    assert "bbox/AP50 > 55: missed" in text and "final_loss < 0.1: missed" in text
    assert "Peak memory: 1234 MB" in text and "Final training loss: 0.5" in text
    assert "Speed: 2 iterations/s" in text
    assert "Steps: 40 of 15900" in text
    assert "averaged weights (model_best_ema.pth) have 4.0 points more" in text


def test_a_repetition_is_compared_with_the_same_repetition(configs, tmp_path):
    make_run(configs[0], tmp_path / "ofat_baseline", 50.0)
    make_run(configs[0], tmp_path / "ofat_baseline_seed2", 40.0)
    again = make_run(configs[1], tmp_path / "ofat_fast_seed2", 54.0)
    assert "+14.00 / +14.00" in summary(again)
    third = make_run(configs[1], tmp_path / "ofat_fast_seed3", 54.0)  # the baseline has no third
    assert "+4.00 / +4.00" in summary(third)


def test_a_baseline_that_has_not_finished_is_said(configs, tmp_path):
    start_run(configs[0], tmp_path / "ofat_baseline")
    text = summary(make_run(configs[1], tmp_path / "ofat_fast", 54.0))
    assert "Against its baseline ofat_baseline: it has no finished run" in text


def test_parent_and_baseline_are_compared_with_each(configs, write_config, tmp_path):
    grandchild = write_config(
        "ofat_more", *CHILD, "train.epochs = 200", 'experiment.parent = "ofat_fast"'
    )
    make_run(configs[0], tmp_path / "ofat_baseline", 50.0)
    make_run(configs[1], tmp_path / "ofat_fast", 55.0)
    text = summary(make_run(grandchild, tmp_path / "ofat_more", 56.0))
    assert text.index("its baseline ofat_baseline") < text.index("its parent ofat_fast")
    assert "+6.00" in text and "+1.00" in text


def test_a_failed_run_tells_how_far_it_came(configs, tmp_path):
    folder = start_run(configs[1], tmp_path / "ofat_fast")
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


def test_an_interrupted_run_says_how_to_go_on(configs, tmp_path):
    folder = start_run(configs[1], tmp_path / "ofat_fast")
    finish_record(folder, "interrupted", "Interrupted; --resume goes on.")
    text = summary(folder)
    assert "Steps: 0 of 15900" in text and "--resume goes on from the last checkpoint" in text


def test_damage_is_a_warning(tmp_path, caplog):
    (tmp_path / "run.json").write_text("[")
    with caplog.at_level(logging.WARNING):
        write_summary(tmp_path, Lineage(OmegaConf.create()))
    assert "not complete" in caplog.text


def test_a_run_without_config_has_a_summary_too(tmp_path):
    start_record(tmp_path, ["train"])
    finish_record(tmp_path, "failed", "ConfigError: no such key")
    write_summary(tmp_path, Lineage(OmegaConf.create()))
    assert "no such key" in (tmp_path / SUMMARY).read_text()


RISING = [{"total_loss": 3 - n, "bbox/AP": n, "validation/total_loss": 3.0 - n} for n in range(3)]
TURNED = [{"total_loss": 3 - n, "bbox/AP": n, "validation/total_loss": 1.0 + n} for n in range(3)]
NOTHING = {"bbox/AP50": 0.0, "bbox/num_predictions": 0}
FLAT = [{"total_loss": 3.0, "bbox/AP": n} for n in range(3)]


@pytest.mark.parametrize(
    ("rows", "values", "expected"),
    [
        (RISING, {}, []),
        (RISING, {"best_iteration": 39}, ["train longer"]),
        (TURNED, {}, ["it overfits"]),
        (TURNED, {"best_iteration": 39}, ["train longer"]),
        (FLAT, {}, ["did not fall"]),
        ([], {"valid": {"bbox/AP50": 0.2}, "test": {}}, ["AP50 on valid is 0.20"]),
        ([], {"valid": NOTHING, "test": NOTHING}, ["predicts nothing"]),
        ([], {"test": {"bbox/AP50": 40.0}}, ["54.0 on valid and 40.0 on test"]),
        ([], {"valid": {"bbox/AP50": None}, "test": {}}, []),
        ([], {"ema": {"valid": {"bbox/AP50": 54.2}}}, []),
    ],
)
def test_what_to_look_at_next(configs, tmp_path, rows, values, expected):
    folder = make_run(configs[0], tmp_path / "ofat_baseline", 54.0, **values)
    write_metrics(folder, rows)
    found = next_steps(read_run(folder))
    assert len(found) == len(expected)
    assert all(words in sentence for words, sentence in zip(expected, found, strict=True))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("ValueError: The GPU is out of memory.", "micro_batch_size"),
        ("ValueError: train.images is wrong", "log.txt"),
    ],
)
def test_each_failure_has_its_advice(configs, tmp_path, reason, expected):
    folder = start_run(configs[0], tmp_path / "ofat_baseline")
    finish_record(folder, "failed", reason)
    (sentence,) = next_steps(read_run(folder))
    assert expected in sentence
