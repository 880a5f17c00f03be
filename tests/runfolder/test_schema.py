"""What the files of a run folder hold is checked as they are read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from runfolder import schema
from runfolder.files import read_json
from runfolder.locks import owner_of
from runfolder.metrics import read_metrics
from runfolder.records import finish_record, start_record, write_results
from runfolder.run import read_run

CONFIG = {
    "experiment": {"name": "a", "factors": ["optimizer.lr"], "targets": {"bbox/AP": 3}},
    "train": {"seed": 0, "total_batch_size": 8, "best_metric": "bbox/AP50"},
    "model": {"anything": [1, "x", None]},
}
RESULTS = {"valid": {"bbox/AP": 1.5, "bbox/APs": None}, "parameters": {"frozen": 3}}
EVALUATION = {"classes": ["head"], "area_ranges": {"small": [0, 1e10]}, "results": {"AP": 1.5}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run."""
    start_record(tmp_path, ["train"], seed=0)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    write_results(tmp_path, RESULTS)
    home = tmp_path / "evaluation" / "valid"
    home.mkdir(parents=True)
    (home / "evaluation.json").write_text(json.dumps(EVALUATION))
    finish_record(tmp_path, "finished", "done")
    return tmp_path


def test_a_sound_folder_is_read_as_it_is(folder: Path) -> None:
    run = read_run(folder)
    assert (run.config, run.results, run.evaluation("valid")) == (CONFIG, RESULTS, EVALUATION)
    assert run.evaluation("test") == {} and run.is_finished
    assert read_run(folder / "nothing").config == {}


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.yaml", "train.total_batch_size", "8"),
        ("config.yaml", "train.total_batch_size", [8]),
        ("config.yaml", "train.best_metric", 5),
        ("config.yaml", "experiment.factors", "optimizer.lr"),
        ("config.yaml", "experiment.targets", {5: 1}),
        ("config.yaml", "experiment.name", 3),
        ("results.json", "valid.bbox/AP", "1.5"),
        ("results.json", "parameters.frozen", 10**30),
        ("results.json", "best_iteration", 0.5),
        ("run.json", "status", "gone"),
        ("run.json", "code", []),
        ("run.json", "code.patch", {"sha256": {}}),
        ("run.json", "pid", "x"),
        ("run.json", "exit_reason", 3),
        ("evaluation/valid/evaluation.json", "classes", 3),
        ("evaluation/valid/evaluation.json", "results.AP", "high"),
        ("evaluation/valid/evaluation.json", "area_ranges.small", [0]),
    ],
)
def test_another_kind_of_value_is_refused_by_file_and_key(
    folder: Path, file: str, key: str, value: Any
) -> None:
    path = folder / file
    content = yaml.safe_load(path.read_text())
    *parents, last = key.split(".")
    node = content
    for name in parents:
        node = node[name]
    node[last] = value
    path.write_text(yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content))
    with pytest.raises(ValueError, match="expected") as found:
        read_run(folder)
    assert str(path) in str(found.value) and last in str(found.value)


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "{a", "\0", "&a [*a]", "- 1", "x: !!python/tuple []"]
)
def test_a_config_that_cannot_be_parsed_is_a_sentence(folder: Path, text: str) -> None:
    (folder / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml"):
        read_run(folder)


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", "9" * 5000, "[" * 10_000])
def test_json_holds_finite_numbers(tmp_path: Path, number: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(f'{{"iterations": {number}}}')
    with pytest.raises(ValueError, match=r"results\.json is not JSON"):
        read_json(path)


def test_lines_that_are_no_metrics_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = '{"iteration": 0, "total_loss": NaN, "lr": null}'
    odd = ('{"iteration": "x"}', '{"iteration": 1, "loss": []}', '{"iteration": 1e400}', "[" * 9999)
    (tmp_path / "metrics.json").write_text("\n".join([sound, *odd, '{"iteration": 2}', '{"it']))
    assert [row["iteration"] for row in read_metrics(tmp_path)] == [0, 2]
    assert f"{len(odd)} lines" in caplog.text


@pytest.mark.parametrize("lock", ['{"pid": "x", "host": "", "since": ""}', "[" * 9999, "[]", ""])
def test_a_damaged_lock_names_nobody(tmp_path: Path, lock: str) -> None:
    (tmp_path / ".lock").write_text(lock)
    assert owner_of(tmp_path) is None


def test_the_record_of_a_run_fits_its_own_description(folder: Path) -> None:
    record = read_run(folder).record
    assert record is not None
    schema.check(asdict(record), type(record), "run.json")
