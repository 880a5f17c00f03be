"""The installed command and its scripts where torch and Detectron2 cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from console import data
from console.main import COMMANDS
from labbook import cli as lab

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
BLOCKED = """
import sys
sys.modules |= dict.fromkeys(("torch", "torchvision", "detectron2"))
"""
AS_COMMAND = "from console.main import main; sys.exit(main(sys.argv[1:]))"
LARGE = ("torch", "torchvision", "detectron2", "timm", "pandas", "matplotlib", "cv2", "h5py")
EACH_HELP = """
import contextlib, io, json, runpy, sys
large = set(sys.argv[1:])
for command in sys.stdin.read().splitlines():
    sys.argv, before = [*command.split(), "--help"], set(sys.modules)
    status, said = "none", io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            if command.endswith(".py"):
                runpy.run_path(command, run_name="__main__")
            else:
                from console.main import main
                sys.exit(main())
    except SystemExit as error:
        status = error.code
    print(json.dumps([status, said.getvalue(), sorted(large & (sys.modules.keys() - before))]))
"""
SCRIPTS = sorted([*(ROOT / "tools").glob("*.py"), *(ROOT / "datasets").glob("*.py")])


def run(code: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "projects")}
    command = [sys.executable, "-c", BLOCKED + code, *words]
    options = {"capture_output": True, "text": True, "env": environment}
    return subprocess.run(command, cwd=folder, check=False, **options)


def test_help_loads_no_large_library_and_starts_nothing(tmp_path):
    """Every command and sub-command, one after the other in a fresh process."""
    lab_commands = [f"smalldet lab {name}" for name in lab.COMMANDS]
    parts = [f"smalldet data {name}" for name in data.OTHERS]
    parts += [f"smalldet doctor {topic}" for topic in ("data", "config", "weights")]
    commands = ["smalldet", *(f"smalldet {name}" for name in COMMANDS), *parts, *lab_commands]
    commands += map(str, SCRIPTS)
    done = subprocess.run(
        [sys.executable, "-c", EACH_HELP, *LARGE],
        input="\n".join(commands), cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "projects")},
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(commands) and not done.stderr and not list(tmp_path.iterdir())
    for command, (status, said, loaded) in zip(commands, answers, strict=True):
        assert (status, loaded) == (0, []), command
        words = command.removeprefix(f"{ROOT}/")
        assert said.startswith(f"usage: {words}") or f"usage: {Path(command).name}" in said, said
    assert all(name in answers[0][1] for name in COMMANDS)


@pytest.mark.parametrize("words", [f"train --config-file {CONFIG}", "predict RUN photo.jpg"])
def test_a_missing_library_is_a_sentence(tmp_path, words):
    done = run(AS_COMMAND, *words.split(), folder=tmp_path)
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    assert "has no torch" in done.stderr and ".[train]" in done.stderr
    assert "&& python tools/install_detectron2.py" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", ["lab.py list ofat", "predict.py RUN x.jpg", "export.py RUN --format onnx"]
)
def test_a_script_outside_of_any_environment_ends_in_a_sentence(words):
    """-S leaves out site-packages: no library, not even this project."""
    command = [sys.executable, "-I", "-S", *f"tools/{words}".split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Run: " in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_ends_in_a_traceback_where_nothing_is_installed(script):
    command = [sys.executable, "-I", "-S", str(script), "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert done.stdout.startswith("usage: ") and script.name in done.stdout
    else:
        assert done.returncode == 1 and "Run: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_says_what_is_missing(tmp_path):
    done = run(AS_COMMAND, "doctor", folder=tmp_path)
    red = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert done.returncode == 1 and not done.stderr
    assert any("torch" in line and "pip install" in line for line in red)
    assert any("Detectron2" in line and "install_detectron2" in line for line in red)
