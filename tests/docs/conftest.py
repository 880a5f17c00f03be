"""A checkout of its own for what writes into one."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from page_commands import ROOT

PARTS = ("ckpts", "configs", "datasets", "docs", "projects", "tools", "work_dirs")
DATA = ("datasets", "work_dirs")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """The project without data and runs, as someone has it who begins."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in PARTS:
        data = [path.name for path in (ROOT / name).glob("*/")] if name in DATA else []
        unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", *data)
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    for path in (*ROOT.glob("*.sh"), ROOT / "constraints.txt", ROOT / "setup.py"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def environment(checkout) -> dict[str, str]:
    """In which commands of the pages run: this Python, the packages of the checkout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ours = {"PATH": path, "PYTHONPATH": str(checkout / "projects"), "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **ours, "OMP_NUM_THREADS": "1"}
