"""Exit status, sentences and closed pipes of every program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from console import status
from console.status import exit_status

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [*(ROOT / "tools").glob("*.py"), *(ROOT / "datasets").glob("*.py"), *ROOT.glob("*.sh")]


def fail_with(error: Exception):
    raise error


def test_texts_are_printed_and_numbers_returned(capsys):
    assert exit_status(lambda: "done") == 0 and capsys.readouterr().out == "done\n"
    assert exit_status(lambda: None) == 0
    assert exit_status(lambda number: number, 7) == 7


@pytest.mark.parametrize("error", [ValueError("it is 3"), FileNotFoundError("it is 3")])
def test_a_known_error_is_a_sentence(capsys, error):
    assert exit_status(fail_with, error) == 1
    assert capsys.readouterr().err == "error: it is 3\n"


def test_other_errors_keep_their_traceback():
    missing_of_ours = ModuleNotFoundError("No module named 'console.x'", name="console.x")
    for error in (KeyError("x"), missing_of_ours, BrokenPipeError("a worker's")):
        with pytest.raises(type(error)):
            exit_status(fail_with, error)


@pytest.mark.parametrize(
    ("module", "mend"),
    [
        ("detectron2.engine", "install_detectron2"),
        ("h5py", ".[events]"),
        ("onnxruntime", ".[export]"),
        ("huggingface_hub", ".[hub]"),
        ("torchvision.ops", ".[train]"),
    ],
)
def test_a_missing_library_comes_with_what_installs_it(capsys, monkeypatch, module, mend):
    monkeypatch.setattr(status.sys, "prefix", str(ROOT / ".venv"))
    assert exit_status(fail_with, ModuleNotFoundError("no", name=module)) == 1
    said = capsys.readouterr().err
    assert f"has no {module.split('.')[0]}." in said and mend in said


def test_an_environment_that_is_not_active_is_named(capsys, monkeypatch, tmp_path):
    activate = tmp_path / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.touch()
    (tmp_path / "projects" / "torchvision").mkdir(parents=True)  # a neighbour is no sign of torch
    monkeypatch.setattr(status, "PROJECTS", tmp_path / "projects")
    assert exit_status(fail_with, ModuleNotFoundError("no", name="torch")) == 1
    assert f". {activate}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["tools/doctor.py", "tools/lab.py --help", "tools/lab.py list ofat"]
)
@pytest.mark.parametrize("buffering", [[], ["-u"]])
def test_a_closed_pipe_is_no_traceback(words, buffering):
    if words == "tools/doctor.py":
        buffering = [*buffering, "-I", "-S"]  # quick: nothing is installed
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "projects")}
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, *buffering, *words.split()]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert not done.stderr and done.returncode in (0, 1)  # 0: argparse does not mind


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run(path):
    assert path.read_text().startswith("#!") and os.access(path, os.X_OK)
