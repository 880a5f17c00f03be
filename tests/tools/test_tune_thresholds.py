"""The script that takes size thresholds from prepared recordings."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from eventcam.dataset import EventRecordings
from eventcam.prepare.size_report import box_sizes
from in_process import call
from smalldet.losses.size_aware import WEIGHT_TYPES, compute_size_weights
from toydata.streets import GeneratedRecordings

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "etram" / "3scale_sizeaware_datadriven_100k.py"
SIZES = {"train": 2, "val": 1, "test": 1, "seconds": 0.5, "width": 240, "height": 180}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tune") / "street"


def tune(*arguments: object) -> CompletedProcess[str]:
    return call("tools/tune_thresholds.py", *arguments)


def test_table_plot_and_config(prepared: Path, tmp_path: Path):
    recordings = EventRecordings(str(prepared), generate=GeneratedRecordings(**SIZES)).recordings(
        "train"
    )
    areas = box_sizes(recordings).areas
    config, plot = shutil.copy(CONFIG, tmp_path), tmp_path / "sizes.png"
    done = tune(prepared, "--plot", plot, "--write", config)
    assert done.returncode == 0, done.stderr
    pattern = r"^(\w+): small_threshold (\d+)(?:, medium_threshold (\d+))?; (\d+) % .*\((\d+) % w"
    found = {kind: line for kind, *line in re.findall(pattern, done.stdout, re.MULTILINE)}
    assert list(found) == list(WEIGHT_TYPES), done.stdout
    for kind, (small, medium, share, usual) in found.items():
        assert (medium == "") is (kind == "exponential")
        given = (int(small), int(medium or 9216)), (1024, 9216)
        for shown, thresholds in zip((share, usual), given, strict=True):
            weights = compute_size_weights(torch.from_numpy(areas), 2.0, *thresholds, kind)
            assert 100 * float((weights > 1.1).double().mean()) == pytest.approx(int(shown), abs=1)
    small = int(found["exponential"][0])
    assert sum(areas < small * math.log(2)) / len(areas) == pytest.approx(2 / 3, abs=0.1)
    assert f"{len(areas)} boxes" in done.stdout and "120x90" in done.stdout
    assert re.search(r"^Pedestrian +\d", done.stdout, re.MULTILINE) and plot.exists()

    text = Path(config).read_text(encoding="utf-8")
    assert f"small_threshold = {small}\n" in text and "medium_threshold =" not in text
    assert f'_source = "upper tercile of {len(areas)} boxes: generated recordings' in text
    others = [line for line in CONFIG.read_text(encoding="utf-8").splitlines() if " = " not in line]
    assert others == [line for line in text.splitlines() if " = " not in line]


def test_other_weights_have_both_thresholds(prepared: Path, tmp_path: Path):
    config = tmp_path / "step.py"
    lines = ("model.head.small_threshold = 1", "model.head.medium_threshold = 2", "_source = ''")
    config.write_text("\n".join(lines))
    EventRecordings(str(prepared), generate=GeneratedRecordings(**SIZES)).recordings("train")
    plot = tmp_path / "sizes.png"
    done = tune(prepared, "--plot", plot, "--weight-type", "step", "--write", config)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^step: small_threshold (\d+), medium_threshold (\d+)", done.stdout, re.M)
    assert found and [line.split(" = ")[1] for line in config.read_text().split("\n")[:2]] == [
        *found.groups()
    ]


def test_what_is_wrong_is_a_sentence(tmp_path: Path):
    done = tune(tmp_path / "nowhere")
    assert done.returncode == 1
    assert "holds no prepared recordings" in done.stderr and "Traceback" not in done.stderr
