"""Preflight over a training script that only pretends."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from short_run_toys import SCRIPT

from labbook import cli
from labbook.config.lineage import Family
from labbook.config.studies import get_study
from labbook.run.jobs import plan_jobs
from labbook.run.processes import RunProcess
from labbook.run.trials import preflight
from labbook.run.trials.attempts import try_jobs
from labbook.run.trials.forked import ForkedRun
from runfolder.records import run_status

ROOT = Path(__file__).resolve().parents[3]
LOADER = 'dataloader["valid"] = L(loader)(dataset="${dataset}", batch=1, limit=None)'


@pytest.fixture
def study(write_config, tmp_path):
    """Writes real configs with toy-size twins; returns the project folder."""
    (tmp_path / "fake.py").write_text(SCRIPT)

    def write(*names: str, twins: bool = True) -> Path:
        folder = tmp_path / "configs" / "debug" / "ofat"
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = write_config(name, LOADER)
            if twins:
                text = path.read_text().replace('study="ofat"', 'study="ofat-debug"')
                (folder / path.name).write_text(text)
        return tmp_path

    return write


def test_all_or_some_would_run(study, capsys):
    root = study("good", "other")
    assert cli.main(["preflight", "ofat"], root, "fake.py") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["ok", "good"], ["ok", "other"]]
    assert lines[2].startswith("All 2 configs of the study ofat would run (")
    calls = [json.loads(line) for line in (root / "calls.jsonl").read_text().splitlines()]
    assert sorted(config for config, _ in calls) == [
        "configs/debug/ofat/good.py", "configs/debug/ofat/other.py",
    ]  # fmt: skip
    assert {"train.max_iter=2", "train.device=cpu", "dataloader.valid.limit=2"} <= set(calls[0][1])
    assert not any("dataloader.test" in word for word in calls[0][1])  # the config has no such
    folder = root / "work_dirs/debug/preflight/ofat/good"
    assert (folder / "console.txt").exists() and not list(folder.glob("*.pth"))
    assert sorted(path.name for path in (root / "work_dirs").iterdir()) == ["debug"]
    study("a_crash")
    assert cli.main(["preflight", "ofat", "--only", "ofat_good"], root, "fake.py") == 0
    assert "a_crash" not in capsys.readouterr().out
    assert cli.main(["preflight", "ofat", "--only", "god"], root, "fake.py") == 2
    assert cli.main(["preflight", "demo"], ROOT) == 2
    assert "There is no study 'demo-debug'" in capsys.readouterr().err


def test_each_failure_is_told_and_the_others_are_tried(study, write_config, capsys, monkeypatch):
    monkeypatch.setattr(preflight, "LIMIT_SECONDS", 3.0)
    root = study("a_crash", "b_fails", "c_hangs", "d_good", "e_broken", "f_undeclared")
    study("g_alone", twins=False)
    write_config("e_broken", "train.images = 'many'")
    write_config("f_undeclared", "experiment.factors = ['optimizer.lr']")
    twin = root / "configs/debug/ofat/d_good.py"
    (twin.parent / "h_twin.py").write_text(twin.read_text().replace("d_good", "h_twin") + "1 / 0\n")
    study("h_twin", twins=False)
    assert cli.main(["preflight", "ofat", "--debug"], root, "fake.py") == 1
    out = capsys.readouterr().out
    told = {line.split()[1]: line for line in out.splitlines() if line[:6] in ("FAILED", "ok    ")}
    for name, sentence in {
        "a_crash": "ImportError: nothing to see",
        "b_fails": "DataError: no such data",
        "c_hangs": "It did not end within 3 s",
        "e_broken": "train.images is 'many'",
        "f_undeclared": "declares the factors optimizer.lr but no experiment.parent",
        "g_alone": "configs/debug/ofat/g_alone.py",
        "h_twin": "ZeroDivisionError",
    }.items():
        assert told[name].startswith("FAILED") and sentence in told[name], told[name]
    assert told["d_good"].startswith("ok")
    assert "7 of 8 would fail" in out
    assert len((root / "calls.jsonl").read_text().splitlines()) == 4  # the others cannot start


@pytest.mark.parametrize("run", [RunProcess, ForkedRun])
def test_what_runs_is_ended_where_the_caller_breaks_off(study, run):
    root = study("a_good", "c_hangs")
    family = Family(get_study("ofat", root, debug=True), root)
    jobs = [
        replace(job, overrides=(f"train.output_dir='{job.folder}'",))
        for job in plan_jobs(family, ["a_good", "c_hangs"], "fake.py")
    ]
    trials = try_jobs(jobs, root, 60.0, at_a_time=2, run=run)
    assert next(trials).is_ok
    hanging = jobs[1].folder
    while run_status(hanging) != "running":
        time.sleep(0.05)
    trials.close()
    assert run_status(hanging) == "interrupted" and run_status(jobs[0].folder) == "finished"


def test_a_forked_run_starts_processes_as_any_program_does(tmp_path):
    """A data-loading process that is forked is there at once; one of a server loads all again."""
    (tmp_path / "asks.py").write_text(
        "import multiprocessing\nprint(multiprocessing.get_context())"
    )
    run = ForkedRun(tmp_path / "run", [sys.executable, "asks.py"], tmp_path)
    assert run.wait(60) == 0
    assert type(multiprocessing.get_context()).__name__ in run.tail(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study_name", "name"),
    [("ofat", "ofat_lr0.001_bs8_sgd_ep100"), ("etram", "baseline_3scale_100k_small")],
)
def test_a_real_config(study_name, name, capsys):
    script = "tools/lazyconfig_train_net.py"
    assert cli.main(["preflight", study_name, "--only", name], ROOT, script) == 0
    assert f"ok      {name}" in capsys.readouterr().out
