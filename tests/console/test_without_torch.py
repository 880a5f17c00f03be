"""The installed command and its scripts where torch and Detectron2 cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
BLOCKED = """
import sys
sys.modules |= dict.fromkeys(("torch", "torchvision", "detectron2"))
"""
AS_COMMAND = "from console.main import main; sys.exit(main(sys.argv[1:]))"
AS_SCRIPT = "import runpy; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"


def run(code: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "projects")}
    command = [sys.executable, "-c", BLOCKED + code, *words]
    options = {"capture_output": True, "text": True, "env": environment}
    return subprocess.run(command, cwd=folder, check=False, **options)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_needs_no_torch_and_starts_nothing(tmp_path, command):
    done = run(AS_COMMAND, *command.split(), "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: smalldet {command}".strip())
    assert not list(tmp_path.iterdir())
    if not command:
        assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("script", ["lazyconfig_train_net", "predict", "export", "doctor"])
def test_help_of_a_script_names_the_script(tmp_path, script):
    done = run(AS_SCRIPT, f"{ROOT}/tools/{script}.py", "-h", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: tools/{script}.py")


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


SCRIPTS = sorted([*(ROOT / "tools").glob("*.py"), *(ROOT / "datasets").glob("*.py")])


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
