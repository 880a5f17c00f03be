"""The example of someone's own Detectron2 script trains and is scored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from toydata.heads import GeneratedHeads

ROOT = Path(__file__).resolve().parents[2]


def test_trains_and_is_scored(tmp_path: Path):
    GeneratedHeads(seed=0, image_size=64, train=4, valid=2, test=1).ensure(tmp_path / "data")
    options = ["--steps=3", "--size=64", "--depth=1"]
    command = [sys.executable, "configs/examples/own_script.py", str(tmp_path / "data"), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'AP50'" in done.stdout.splitlines()[-1]
