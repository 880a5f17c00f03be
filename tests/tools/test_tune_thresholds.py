"""The script that takes size thresholds from prepared recordings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eventcam.dataset import EventRecordings
from eventcam.prepare.size_report import box_sizes
from toydata.streets import GeneratedRecordings

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "etram" / "3scale_sizeaware_datadriven_100k.py"
SIZES = {"train": 2, "val": 1, "test": 1, "seconds": 0.5, "width": 240, "height": 180}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tune") / "street"


def tune(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/tune_thresholds.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_table_plot_and_config(prepared: Path, tmp_path: Path):
    recordings = EventRecordings(str(prepared), generate=GeneratedRecordings(**SIZES)).recordings(
        "train"
    )
    areas = box_sizes(recordings).areas
    config, plot = shutil.copy(CONFIG, tmp_path), tmp_path / "sizes.png"
    done = tune(prepared, "--plot", plot, "--write", config)
    assert done.returncode == 0, done.stderr
    found = re.search(r"small_threshold (\d+), medium_threshold (\d+)", done.stdout)
    assert found, done.stdout
    small, medium = map(int, found.groups())
    assert sum(areas < small) / len(areas) == pytest.approx(1 / 3, abs=0.1)
    assert sum(areas < medium) / len(areas) == pytest.approx(2 / 3, abs=0.1)
    assert f"{len(areas)} boxes" in done.stdout and "120x90" in done.stdout
    assert re.search(r"^Pedestrian +\d", done.stdout, re.MULTILINE) and plot.exists()

    text = Path(config).read_text(encoding="utf-8")
    assert f"small_threshold = {small}\nmodel.head.medium_threshold = {medium}\n" in text
    assert f'_source = "terciles of {len(areas)} boxes: generated recordings' in text
    others = [line for line in CONFIG.read_text(encoding="utf-8").splitlines() if " = " not in line]
    assert others == [line for line in text.splitlines() if " = " not in line]


def test_what_is_wrong_is_a_sentence(tmp_path: Path):
    done = tune(tmp_path / "nowhere")
    assert done.returncode == 1
    assert "holds no prepared recordings" in done.stderr and "Traceback" not in done.stderr
