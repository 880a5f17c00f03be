"""A wheel in an environment that has nothing else: the command works and says what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from labbook.config.load import load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/ofat/ofat_lr0.01_bs8_adamw_ep100.py"
NEEDED = ("projects", "configs", "tools")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """An environment of the wheel alone."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in NEEDED:
        unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, ignore=unwanted)
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    build = ["wheel", "--no-build-isolation", "--no-deps", "-w", str(folder), str(source)]
    subprocess.run([*PIP, *build], check=True)
    venv.create(folder / "env")
    place = ["--python", str(folder / "env")]
    wheel = str(next(folder.glob("*.whl")))
    subprocess.run(
        [*PIP, *place, "install", "--no-compile", "--no-deps", "--no-index", wheel], check=True
    )
    return folder / "env"


def call(environment: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``smalldet`` in an empty folder, with no package but its own."""
    command = [str(environment / "bin" / "python"), "-I", str(environment / "bin" / "smalldet")]
    folder = environment / "empty"
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [*command, *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_doctor_names_requirements_and_the_installer(environment):
    done = call(environment, "doctor")
    assert done.returncode == 1 and not done.stderr
    lines = {line.split(": ")[0]: line for line in done.stdout.splitlines()}
    install = lines["FAIL  torch and torchvision"].split("Fix: ")[1]
    assert "'torch>=" in install and "'torchvision>=" in install and "omegaconf" in install
    assert lines["FAIL  OpenCV"].endswith("Fix: as for torch and torchvision")
    assert "h5py" not in install and "constraints.txt" not in done.stdout
    assert lines["FAIL  Detectron2"].endswith("Fix: smalldet install-detectron2")


def test_commands_say_what_is_missing(environment):
    for words in (["train", "--config-file", CONFIG], ["predict", "RUN", "x.jpg"], ["data"]):
        done = call(environment, *words)
        assert done.returncode == 1 and "Run: python -m pip install" in done.stderr
        assert "&& smalldet install-detectron2" in done.stderr
        assert "Traceback" not in done.stderr
    done = call(environment, "install-detectron2")
    assert done.returncode == 1 and "torch" in done.stderr and "Traceback" not in done.stderr


def test_configs_and_the_training_script_are_in_the_wheel(environment):
    home = next(environment.rglob("console/home"))
    ours = {path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.py")}
    assert {path.relative_to(home) for path in (home / "configs").rglob("*.py")} == ours
    assert (home / "configs" / "ofat" / "study.yaml").is_file()
    assert load_config(home / CONFIG, []).optimizer.lr == 0.01
    python = str(environment / "bin" / "python")
    script = [python, "-I", str(home / "tools" / "lazyconfig_train_net.py"), "--help"]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert "--config-file" in done.stdout
