"""What a run's own numbers suggest to look at next."""

from __future__ import annotations

import json

import pytest
from note_toys import make_run, start_run, write_metrics

from labbook.run.advice import next_steps
from runfolder.records import finish_record
from runfolder.run import read_run

RISING = [{"total_loss": 3 - n, "bbox/AP": n, "validation/total_loss": 3.0 - n} for n in range(3)]
TURNED = [
    {"total_loss": 3 - n, "bbox/AP": 9 - n, "validation/total_loss": 1.0 + n} for n in range(3)
]
NOTHING = {"bbox/AP50": 0.0, "bbox/num_predictions": 0}
FLAT = [{"total_loss": 3.0, "bbox/AP": 1.0} for n in range(3)]
FALLING = [{"total_loss": 1.0 + n, "bbox/AP": 9.0 - n} for n in range(3)]
CASCADE = [  # more positives, more loss
    {"total_loss": 1.0 + n, "bbox/AP": n, "validation/total_loss": 1.0 + n} for n in range(3)
]
ONCE = [{"total_loss": 1.0}, {"total_loss": 2.0}, {"total_loss": 2.0, "bbox/AP": 20.0}]


@pytest.mark.parametrize(
    ("rows", "values", "expected"),
    [
        (RISING, {}, []),
        (RISING, {"best_iteration": 39}, ["train longer"]),
        (TURNED, {}, ["it overfits"]),
        (TURNED, {"best_iteration": 39}, ["train longer"]),
        (FLAT, {}, ["did not fall"]),
        (FALLING, {}, ["did not fall"]),
        ([{"total_loss": 3.0}] * 3, {}, ["did not fall"]),
        (CASCADE, {}, []),
        (ONCE, {}, []),
        ([], {"valid": {"bbox/AP50": 0.2}, "test": {}}, ["AP50 on valid is 0.20"]),
        ([], {"valid": NOTHING, "test": NOTHING}, ["predicts nothing"]),
        ([], {"test": {"bbox/AP50": 40.0}}, ["54.0 on valid and 40.0 on test"]),
        ([], {"valid": {"bbox/AP50": None}, "test": {}}, []),
        ([], {"ema": {"valid": {"bbox/AP50": 54.2}}}, []),
    ],
)
def test_what_to_look_at_next(write_config, tmp_path, rows, values, expected):
    folder = make_run(write_config("baseline"), tmp_path / "ofat_baseline", 54.0, **values)
    write_metrics(folder, rows)
    found = next_steps(read_run(folder))
    assert len(found) == len(expected)
    assert all(words in sentence for words, sentence in zip(expected, found, strict=True))


def test_classes_of_which_nothing_was_found_are_named(write_config, tmp_path):
    scores = {"bbox/AP50": 54.0, "bbox/AP-car": 20.0, "bbox/AP-bike": 0.0, "bbox/AP-bus": None}
    config = write_config("baseline")
    folder = make_run(config, tmp_path / "ofat_baseline", 54.0, valid=scores, test={})
    (folder / "evaluation" / "valid").mkdir(parents=True)
    facts = folder / "evaluation" / "valid" / "evaluation.json"
    facts.write_text(json.dumps({"classes": ["car", "bike", "bus"]}))
    (sentence,) = next_steps(read_run(folder))
    assert "0.0 for bike:" in sentence and "bus" not in sentence and "lab.py report" in sentence


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("ValueError: The GPU is out of memory.", "micro_batch_size"),
        ("ValueError: The GPU is out of memory.", "--resume train.on_oom=halve"),
        ("NonFiniteLoss: A loss was not finite at iteration 3", "tools/reproduce_nan.py"),
        ("ValueError: train.images is wrong", "log.txt"),
    ],
)
def test_each_failure_has_its_advice(write_config, tmp_path, reason, expected):
    folder = start_run(write_config("baseline"), tmp_path / "ofat_baseline")
    finish_record(folder, "failed", reason)
    (sentence,) = next_steps(read_run(folder))
    assert expected in sentence
