"""What a study would take, and where that is known from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from labbook_toys import STUDIES
from omegaconf import OmegaConf
from run_toys import change_record
from short_run_toys import SCRIPT

from labbook import cli
from labbook.commands import plan as plan_command
from labbook.config.load import ConfigError, to_plain
from labbook.run.costs import (
    StepCost,
    device_name,
    known_costs,
    measurements_file,
    short_overrides,
    step_key,
)
from labbook.run.jobs import Job
from labbook.run.plan import make_plan, summary
from runfolder.files import write_json, write_text
from runfolder.records import finish_record, start_record
from runfolder.run import read_run, with_micro_batch

OFAT = STUDIES["ofat"]
SETTINGS = """
from dataclasses import dataclass
from labbook_toys import Settings as _Settings

@dataclass
class Settings(_Settings):
    total_batch_size: int = 8
    micro_batch_size: int = 2
    amp: str = "off"
"""


def config(**train: Any) -> dict[str, Any]:
    """A resolved config as far as a plan reads it."""
    settings = {"max_iter": 100, "epochs": 10, "total_batch_size": 8, "micro_batch_size": 2,
                "amp": {"enabled": False}, "seed": 0, "output_dir": "x"} | train  # fmt: skip
    return {
        "experiment": {"name": "ofat_a", "study": "ofat", "factors": [], "level": "baseline"},
        "train": settings,
        "model": {"_target_": "Net", "depth": 2, "init_checkpoint": "a.pth", "pretrained": True},
        "optimizer": {"_target_": "Adam", "lr": 0.1, "betas": [0.9, 0.99]},
        "dataset": {"_target_": "Data", "root": "here", "generate": None},
        "dataloader": {"image_size": 64, "train": {"size": 64}, "valid": {"limit": None}},
        "lr_multiplier": {"num_updates": 100},
    }


def changed(key: str, value: Any) -> dict[str, Any]:
    cfg = OmegaConf.create(config())
    OmegaConf.update(cfg, key, value)
    return OmegaConf.to_container(cfg)  # type: ignore[return-value]


def job(content: dict[str, Any], name: str = "a") -> Job:
    return Job(name, Path(f"{name}.py"), Path("work_dirs") / name, OmegaConf.create(content), "x")


@pytest.mark.parametrize(
    ("key", "value", "costs_the_same"),
    [
        ("train.max_iter", 7, True),
        ("train.seed", 7, True),
        ("optimizer.lr", 7.0, True),
        ("experiment.name", "other", True),
        ("model.init_checkpoint", "", True),
        ("model.pretrained", False, True),
        ("dataset.root", "there", True),
        ("dataloader.valid.limit", 3, True),
        ("train.total_batch_size", 16, False),
        ("train.micro_batch_size", 8, False),
        ("train.amp.enabled", True, False),
        ("model.depth", 3, False),
        ("optimizer._target_", "SGD", False),
        ("dataloader.train.size", 32, False),
    ],
)
def test_what_costs_the_same(key, value, costs_the_same):
    assert (step_key(changed(key, value)) == step_key(config())) is costs_the_same


def test_a_plan_adds_up():
    jobs = [
        job(config()),
        job(config(max_iter=50, epochs=0, total_batch_size=16, micro_batch_size=99)),
        job(changed("model.depth", 9)),
    ]
    costs = {
        step_key(config()): StepCost(0.5, 2000.0, "run ofat_a"),
        step_key(to_plain(jobs[1].cfg)): StepCost(2.0, None, "3 measured steps"),
    }
    plan = make_plan(jobs, costs, seeds=3)
    assert plan.seconds.fillna(-1).tolist() == [150.0, 300.0, -1]
    assert plan.source.tolist() == ["run ofat_a", "3 measured steps", "-"]
    assert plan.micro_batch.tolist() == [2, 16, 2], "no larger than the batch"
    lines = summary(OFAT, plan, "a GPU")
    assert lines[0] == (
        "Total: 9 runs, 750 iterations, 8 min of training of the 6 with an estimate, one after the "
        "other."
    )
    assert lines[1].startswith("No estimate for 3 runs: `tools/lab.py plan ofat --measure`")
    assert lines[2] == "On a GPU. Training steps only; evaluations come on top."
    assert summary(OFAT, make_plan(jobs[2:], {}), "x")[0] == "Total: 1 run, 100 iterations."


def make_run(root: Path, name: str, end: str | None, **results: Any) -> Path:
    folder = root / "work_dirs" / name
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config())))
    start_record(folder, [])
    if results:
        write_json(folder / "results.json", results)
    if end:
        finish_record(folder, end, "a reason")
    change_record(folder, devices={"gpus": ["one"], "cpu": "a CPU"})
    return folder


def test_runs_tell_what_they_took(tmp_path):
    done = make_run(tmp_path, "done", "finished", seconds_per_iteration=0.25, peak_memory_mb=9.0)
    key = step_key(config())
    found = known_costs(OFAT, tmp_path, "one", [read_run(done)])
    assert found == {key: StepCost(0.25, 9.0, "run done")}
    running = make_run(tmp_path, "running", None)
    assert known_costs(OFAT, tmp_path, "one", [read_run(running)]) == {}
    steps: list[dict[str, float]] = [
        {"images_per_second": 1.0, "memory_mb": 5.0},
        {"bbox/AP": 3.0},
        {"images_per_second": 4.0, "memory_mb": 7.0},
    ]
    write_text(running / "metrics.json", "\n".join(map(json.dumps, steps)))
    found = known_costs(OFAT, tmp_path, "one", [read_run(running)])
    assert found == {key: StepCost(2.0, 7.0, "run running")}


def test_of_a_run_whose_micro_batch_became_smaller_the_steps_since_count(tmp_path):
    took = {"seconds_per_iteration": 0.25, "peak_memory_mb": 9.0}
    run = make_run(tmp_path, "lowered", "finished", **took)
    speeds = {39: 8.0, 49: 6.0, 59: 2.0, 69: 4.0}
    rows = [
        {"iteration": n, "images_per_second": speed, "memory_mb": speed}
        for n, speed in speeds.items()
    ]
    write_text(run / "metrics.json", "\n".join(map(json.dumps, rows)))
    key = step_key(with_micro_batch(config(), 1))
    for step, expected in ((39, (2.0, 4.0)), (40, (2.0, 4.0)), (50, None), (None, None)):
        change_record(run, micro_batch_size=1, micro_batch_step=step)
        found = known_costs(OFAT, tmp_path, "one", [read_run(run)])
        assert found == ({key: StepCost(*expected, "run lowered")} if expected else {}), step


def test_other_devices_do_not_count(tmp_path):
    done = make_run(tmp_path, "done", "finished", seconds_per_iteration=0.25)
    costs = {"key": {"seconds_per_iteration": 3.0, "peak_memory_mb": None, "source": "measured"}}
    write_json(measurements_file(OFAT, tmp_path), {"two": {"other": {}}, "three": costs})
    measured = {"key": StepCost(3.0, None, "measured")}
    assert known_costs(OFAT, tmp_path, "three", [read_run(done)]) == measured
    assert len(known_costs(OFAT, tmp_path, "one", [read_run(done)])) == 1
    change_record(done, processes=2)
    assert known_costs(OFAT, tmp_path, "one", [read_run(done)]) == {}
    change_record(done, processes=1, devices={"gpus": [], "cpu": ""})
    assert known_costs(OFAT, tmp_path, "one", [read_run(done)]) == {}
    measurements_file(OFAT, tmp_path).write_text("{")
    with pytest.raises(ValueError, match=r"ofat_measured.json is not JSON"):
        known_costs(OFAT, tmp_path, "two", [])


def test_measuring_generates_data_as_the_study_says(tmp_path):
    generating = replace(OFAT, generate=("dataset.generate={image_size: 640}", "train.images=8"))
    overrides = short_overrides(generating, config(), tmp_path, tmp_path / "run", steps=3)
    assert overrides[-2:] == list(generating.generate)
    expected = {"train.max_iter=3", "dataloader.valid.limit=1", "model.init_checkpoint=''"}
    expected |= {"model.pretrained=false"}
    assert expected <= set(overrides)
    assert not any(text.startswith("dataloader.test") for text in overrides), "there is none"
    assert any("dataset.root='" in text and "debug/measure/data" in text for text in overrides)
    own = changed("dataset.generate", {"train": 3})
    found = short_overrides(generating, own, tmp_path, tmp_path, 3)
    assert not any("dataset" in text for text in found), "toy sizes generate their own"
    with pytest.raises(ConfigError, match=r"ofat .*generate.* Give dataset\.generate"):
        short_overrides(replace(OFAT, generate=()), config(), tmp_path, tmp_path, 3)


@pytest.fixture
def study(write_config, tmp_path, monkeypatch) -> Callable[..., Path]:
    """Configs with a batch, and a training script that only pretends."""
    (tmp_path / "fake.py").write_text(SCRIPT)
    (tmp_path / "plan_settings.py").write_text(SETTINGS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plan_command, "devices", lambda: {"gpus": ["a GPU"], "cpu": "a CPU"})
    usual = ("from plan_settings import Settings as _S", "train._target_ = _S",
             "dataset.generate = dict(train=1)")  # fmt: skip

    def write(**lines: str) -> Path:
        for name, line in lines.items():
            write_config(name, *usual, line)
        return tmp_path

    return write


def test_measures_what_differs_once(study, capsys):
    root = study(a="", b="optimizer.lr = 0.5", c="train.total_batch_size = 4")
    assert cli.main(["plan", "ofat"], root, "fake.py") == 0
    assert "No estimate for 3 runs" in capsys.readouterr().out
    assert cli.main(["plan", "ofat", "--measure", "2", "--seeds", "2"], root, "fake.py") == 0
    out = capsys.readouterr().out
    calls = [json.loads(line)[0] for line in (root / "calls.jsonl").read_text().splitlines()]
    assert calls == ["configs/ofat/a.py", "configs/ofat/c.py"]
    costs = known_costs(OFAT, root, "a GPU", [])
    assert sorted(costs.values(), key=repr) == [StepCost(2.0, 101.0, "2 measured steps")] * 2
    assert "Total: 6 runs, 95,400 iterations, 53 h 00 min of training" in out
    assert "On a GPU." in out
    assert not (root / "work_dirs" / "debug" / "measure").exists()


def test_a_measurement_that_fails_is_told(study, capsys):
    root = study(a_fails="", b="train.total_batch_size = 4")
    assert cli.main(["plan", "ofat", "--measure"], root, "fake.py") == 1
    streams = capsys.readouterr()
    assert "a_fails could not be measured: DataError: no such data" in streams.err
    assert "No estimate for 1 run" in streams.out
    assert list((root / "work_dirs/debug/measure").iterdir())


def test_the_table_shows_bundles(study, capsys, monkeypatch):
    root = study(a="experiment.update(factors=['train.batch', 'optimizer.lr'], level='both')")
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["plan", "ofat"], root, "fake.py") == 0
    out = capsys.readouterr().out
    assert "bundle: train.batch," in out and "8 (2)" in out and "15,900" in out
    assert cli.main(["plan", "ofat", "train.epoch=3"], root, "fake.py") == 2


@pytest.mark.parametrize(
    ("setting", "devices", "name"),
    [
        ("auto", {"gpus": ["one", "two"], "cpu": "c"}, "one"),
        ("cpu", {"gpus": ["one"], "cpu": "c"}, "c"),
        ("auto", {"gpus": [], "cpu": "c"}, "c"),
        ("cuda", {}, ""),
    ],
)
def test_device_names(setting, devices, name):
    assert device_name(setting, devices) == name
