"""What a run's own numbers suggest to look at next."""

from __future__ import annotations

import pytest
from note_toys import make_run, start_run, write_metrics

from labbook.run.advice import next_steps
from runfolder.records import finish_record
from runfolder.run import read_run

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
def test_what_to_look_at_next(write_config, tmp_path, rows, values, expected):
    folder = make_run(write_config("baseline"), tmp_path / "ofat_baseline", 54.0, **values)
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
def test_each_failure_has_its_advice(write_config, tmp_path, reason, expected):
    folder = start_run(write_config("baseline"), tmp_path / "ofat_baseline")
    finish_record(folder, "failed", reason)
    (sentence,) = next_steps(read_run(folder))
    assert expected in sentence
