"""The code of the day does what it did when ``record.py`` recorded it.

What has changed on purpose since then is listed in ``changes.py``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import record
from changes import MOVED_COMMANDS, OLD_CONFIGS_LOAD, RENAMED_CLASSES, renamed

from labbook.cli import main as lab

MODELS = record.read_json("models.json")
CONFIGS = record.read_json("configs.json")
TRACES = record.read_json("traces.json")
OPTIONS = record.read_json("options.json")
LINES = list(record.RUNS)
NEAR = 1e-4
"""Between machines whose last digits differ: what a few steps make of rounding."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Where the scripts run; they share the generated data."""
    return record.workplace(tmp_path_factory.mktemp("characterisation") / "place")


@pytest.mark.parametrize("config", MODELS)
def test_state_dict(config):
    text = (record.HERE / "state_dicts" / MODELS[config]).read_text()
    now = record.state_dict_lines(record.resolved(config)["model"])
    assert sorted(now) == sorted(text.splitlines())


@pytest.mark.parametrize("config", CONFIGS)
def test_resolved_config(config):
    now = dict(record.leaves(record.resolved(config)))
    wrong = {}
    for old, expected in record.recorded_values(CONFIGS, config).items():
        key = renamed(old)
        in_model = old.startswith("model.")  # state dicts, traces and runs tell the rest of it
        if key is None or (in_model and (key not in now or key.endswith("_target_"))):
            continue
        pair = (comparable(key, expected, RENAMED_CLASSES), comparable(key, now.get(key), {}))
        if repr(pair[0]) != repr(pair[1]):
            wrong[key] = pair
    assert not wrong, "(recorded, now) by key"


def comparable(key: str, value: Any, classes: dict[str, str]) -> Any:
    """A leaf, or of a target the last part alone: modules may move."""
    if not key.endswith("_target_"):
        return value
    name = str(value).rpartition(".")[2]
    return classes.get(name, name)


@pytest.mark.parametrize("name", record.TRACES)
def test_losses_of_20_steps(name, place):
    then, now = TRACES[name], record.trace(place, name)
    pairs = list(zip(then["steps"], now["steps"], strict=True))
    if record.machine() == TRACES["machine"]:
        assert [{key: new.get(key) for key in old} for old, new in pairs] == then["steps"]
        assert now["weights"] == then["weights"]
    # Elsewhere sums are taken in another order. The first steps differ by rounding, which grows
    # until a proposal or an anchor changes sides; from then on the losses differ by a percent.
    old, new = ([row["total_loss"] for row in rows] for rows in zip(*pairs, strict=True))
    assert new[:2] == pytest.approx(old[:2], rel=NEAR)
    assert new == pytest.approx(old, rel=0.05)


def copied(line: str, place: Path) -> Path:
    """A fresh copy of a recorded run folder, where the run was made; relative to ``place``."""
    folder = place / record.RUN_FOLDERS[line]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(record.HERE / "runs" / line, folder)
    return Path(record.RUN_FOLDERS[line])


def assert_same_predictions(line: str, folder: Path) -> None:
    for split in ("valid", "test"):
        name = f"evaluation/{split}/predictions.json"
        old, new = (read(home / name) for home in (record.HERE / "runs" / line, folder))
        if record.machine() == record.read_json("runs/machine.json"):
            assert new == old
        assert len(new) == pytest.approx(len(old), rel=0.1)
        old, new = (sorted(box["score"] for box in boxes)[-10:] for boxes in (old, new))
        assert new == pytest.approx(old, rel=NEAR)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def assert_refused(done) -> None:
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and "config.yaml" in done.stderr


@pytest.mark.parametrize("line", LINES)
def test_an_old_checkpoint_loads(line, place):
    folder = copied(line, place)
    config, overrides = record.RUNS[line]
    new = [
        f"train.output_dir=work_dirs/eval_{line}",
        f"train.init_checkpoint={folder}/model_best.pth",
    ]
    done = record.run_script(place, config, [*overrides, *new], "--eval-only")
    assert done.returncode == 0
    assert_same_predictions(line, place / f"work_dirs/eval_{line}")


@pytest.mark.parametrize("line", LINES)
def test_an_old_run_folder_is_evaluated_or_refused(line, place):
    folder = copied(line, place)
    shutil.rmtree(place / folder / "evaluation")
    done = record.run_script(place, f"{folder}/config.yaml", [], "--eval-only")
    if not OLD_CONFIGS_LOAD[line]:
        return assert_refused(done)
    assert done.returncode == 0
    assert_same_predictions(line, place / folder)


@pytest.mark.parametrize("line", LINES)
def test_an_old_run_is_resumed_or_refused(line, place):
    """From its middle: the last two steps are done again."""
    folder = place / copied(line, place)
    recorded = read(folder / "results.json")
    (folder / "results.json").unlink()
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    config, overrides = record.RUNS[line]
    done = record.run_script(place, config, overrides, "--resume")
    if not OLD_CONFIGS_LOAD[line]:
        return assert_refused(done)
    assert done.returncode == 0
    results = read(folder / "results.json")
    assert results["iterations"] == recorded["iterations"] == 4
    assert results["final_loss"] == pytest.approx(recorded["final_loss"], rel=NEAR)
    assert_same_predictions(line, folder)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("command", ["table", "report"])
def test_the_lab_book_reads_old_runs(line, command, place, capsys):
    folder = copied(line, place)
    assert lab([command, line, "--debug"], place) == 0
    written = [place / word for word in capsys.readouterr().out.split() if "." in word]
    texts = [path.read_text() for path in written if path.is_file()]
    results = read(place / folder / "results.json")
    assert any(
        folder.name in text and f"{results['test']['bbox/AP50']:.1f}" in text for text in texts
    )


def test_no_command_and_no_option_has_gone():
    now = record.all_options()
    for command, options in OPTIONS.items():
        assert set(options) <= set(now[MOVED_COMMANDS.get(command, command)]), command
