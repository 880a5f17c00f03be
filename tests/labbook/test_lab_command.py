"""The command line, the shell scripts and the studies they know."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from family_toys import write_child

from labbook import cli
from labbook.commands import run
from labbook.config import load
from labbook.config.studies import (
    find_experiments,
    find_studies,
    get_study,
    study_of_config,
)

ROOT = Path(__file__).resolve().parents[2]
WriteConfig = Callable[..., Path]


def test_studies_and_names(write_config: WriteConfig, tmp_path: Path) -> None:
    names = ["baseline_lr0.001_bs8_adamw_ep100", "ofat_lr0.01_bs8_adamw_ep100",
             "ofat_lr0.001_bs8_sgd_ep100", "ofat_combined"]  # fmt: skip
    for name in ("_bricks", *reversed(names)):
        write_config(name)
    study = get_study("ofat", tmp_path)
    assert list(find_experiments(study, tmp_path)) == names
    wanted = [names[2], "ofat_baseline_lr0.001_bs8_adamw_ep100"]
    assert list(find_experiments(study, tmp_path, wanted)) == [names[0], names[2]]
    with pytest.raises(ValueError, match=r"no experiment 'ofat_combine'\. Did you mean 'ofat_comb"):
        find_experiments(study, tmp_path, ["ofat_combine"])
    with pytest.raises(ValueError, match="Did you mean 'ofat'"):
        get_study("ofatt", tmp_path)


def test_a_study_is_a_folder_of_configs(tmp_path: Path) -> None:
    assert find_studies(tmp_path) == {}
    mine, bricks = tmp_path / "configs/mine", tmp_path / "configs/common"
    for folder in (mine, bricks):
        folder.mkdir(parents=True)
        (folder / "train.py").touch()
    assert find_studies(tmp_path) == {}
    (mine / "baseline_x.py").touch()
    real, toy = find_studies(tmp_path).values()
    assert (real.name, real.work_folder, toy.name) == ("mine", "work_dirs", "mine-debug")
    assert (toy.config_folder, toy.work_folder) == ("configs/debug/mine", "work_dirs/debug")
    assert list(find_experiments(real, tmp_path)) == ["baseline_x", "train"]
    with pytest.raises(ValueError, match=r"mine-debug' has no configs.*configs/debug/_mine.py"):
        find_experiments(toy, tmp_path)
    (mine / "study.yaml").write_text("order: [train]\nmetrics: {small: AP-small}\nwork_dir: out\n")
    (tmp_path / "configs/debug").mkdir()
    (tmp_path / "configs/debug/_mine.py").touch()
    real, toy = find_studies(tmp_path).values()
    assert real.extra_metrics == toy.extra_metrics == (("small", "AP-small"),)
    assert (real.work_folder, toy.work_folder) == ("out", "out/debug")
    assert find_experiments(toy, tmp_path) == {
        name: Path(f"configs/debug/mine/{name}.py") for name in ("train", "baseline_x")
    }
    assert study_of_config(mine / "train.py") == (real, tmp_path)
    assert study_of_config(tmp_path / "configs/debug/mine/train.py") == (toy, tmp_path)
    assert study_of_config(bricks / "train.py") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ordre: []", ["ordre", "'order'"]),
        ("order: 3", ["order", "list"]),
        ("- 1", ["study.yaml"]),
        ("order: [", ["study.yaml"]),
    ],
)
def test_a_wrong_study_file_is_told(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "configs/mine").mkdir(parents=True)
    (tmp_path / "configs/mine/study.yaml").write_text(text)
    with pytest.raises(ValueError) as caught:
        find_studies(tmp_path)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("arguments", "only", "overrides"),
    [
        ("run ofat", [], []),
        ("run ofat a=1 --debug b=2", [], ["a=1", "b=2"]),
        ("run ofat --only x y a=1 --debug", ["x", "y"], ["a=1"]),
        ("run ofat --only x --only y +a=1", ["x", "y"], ["+a=1"]),
        ("run ofat ~a", [], ["~a"]),
    ],
)
def test_options_and_overrides_in_any_order(
    arguments: str, only: list[str], overrides: list[str]
) -> None:
    options = cli.parse(arguments.split())
    assert (options.only, options.overrides) == (only, overrides)
    assert options.debug is ("--debug" in arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("run ofat --debugg", "unknown option --debugg. Did you mean '--debug'"),
        ("run ofat a=1 --num 3", "unknown option --num"),
        ("run ofat baseline", "'baseline' is neither an option nor"),
        ("table ofat a=1", "'a=1' is neither"),
        ("walk ofat", "invalid choice"),
    ],
)
def test_unknown_arguments_are_errors(
    arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments.split(), ROOT)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_command_loads_each_config_once(
    command: str, write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config("baseline")
    for name in ("first", "second"):
        write_child(tmp_path, name, "optimizer.lr = 0.1", factors=["optimizer.lr"])
    loaded: list[str] = []
    read = load.read_config
    monkeypatch.setattr(load, "read_config", lambda path: loaded.append(path.stem) or read(path))
    monkeypatch.setattr(run, "run_jobs", lambda *_: ([], False))
    words = [command, "ofat", "train.device=cpu", "--seeds", "2"]
    assert cli.main(words, tmp_path) == 0
    assert sorted(loaded) == ["baseline", "first", "second"]


def test_list_and_table(
    write_config: WriteConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config("baseline")
    assert cli.main(["list", "ofat"], tmp_path) == 0
    assert capsys.readouterr().out.split() == ["baseline", "new", "work_dirs/ofat_baseline"]
    assert cli.main(["table", "ofat"], tmp_path) == 0
    assert "work_dirs/ofat_table.md" in capsys.readouterr().out
    assert cli.main(["table", "etrm"], tmp_path) == 2


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("run_all_ofat.sh --debug a=1", 7, "tools/lab.py run ofat --debug a=1"),
        ("run_single_ofat.sh NAME --debug a=1", 7, "tools/lab.py run ofat --only NAME --debug a=1"),
        ("run_single_ofat.sh --debug", 2, "the names are:"),
    ],
)
def test_shell_scripts_pass_arguments_and_status(
    tmp_path: Path, command: str, status: int, said: str
) -> None:
    project = tmp_path / "a project"
    (project / ".venv" / "bin").mkdir(parents=True)
    python = project / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$PWD" "$@"\n[ $2 = run ] && exit 7 || exit 0\n')
    python.chmod(0o755)
    script, *words = command.split()
    shutil.copy(ROOT / script, project)
    done = subprocess.run(
        ["sh", str(project / script), *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status
    text = done.stdout + done.stderr
    assert f"{project} tools/lab.py" in text
    assert any(line.endswith(said) for line in text.splitlines())


@pytest.mark.parametrize(
    ("program", "called"),
    [("/environment/bin/smalldet", "smalldet lab"), ("tools/lab.py", "tools/lab.py")],
)
def test_advice_names_the_command_that_was_called(
    program: str, called: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [program])
    (tmp_path / "configs/ofat").mkdir(parents=True)
    (tmp_path / "configs/ofat/baseline_x.py").touch()
    for words in (["analyse", "ofat"], ["diff", "nothing"]):
        assert cli.main(words, tmp_path) == 2
        assert f"`{called} " in capsys.readouterr().err


PRINT_LOADED = "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
HEAVY = {"torch", "detectron2", "fvcore", "smalldet", "eventcam", "hydra"}


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("for name in modules: importlib.import_module(name)", HEAVY),
        ("import labbook.cli", HEAVY | {"pandas", "numpy", "rich", "omegaconf", "matplotlib"}),
    ],
)
def test_the_package_needs_neither_torch_nor_detectron2(code: str, unwanted: set[str]) -> None:
    source = ROOT / "projects"
    files = sorted((source / "labbook").rglob("*.py"))
    modules = [".".join(path.relative_to(source).with_suffix("").parts) for path in files]
    lines = ["import importlib, json, sys", f"modules = {modules}", code, PRINT_LOADED]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "labbook" in loaded and not loaded & unwanted
