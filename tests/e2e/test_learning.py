"""The demo's scores are learned from labels: neither chance nor the place of objects gives them."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path

import pytest
from detectron2.config import instantiate
from script_runs import ROOT, execute, results, run_script

from labbook.config.load import load_config, to_plain
from smalldet.data import CocoSplits, register

CONFIG = "configs/debug/demo/heads.py"
EVENTS = "configs/debug/demo/events.py"
ONCE = ["train.max_iter=1", "train.eval_period=1", "optimizer.lr=0.0"]
ONCE += ["train.validation_loss=false"]


@pytest.fixture(scope="module")
def heads(tmp_path_factory) -> Path:
    """The data of the demo's heads in a folder of their own."""
    folder = tmp_path_factory.mktemp("demo") / "heads"
    register(instantiate(to_plain(load_config(ROOT / CONFIG, [f"dataset.root={folder}"]).dataset)))
    return folder


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    """The same for the events, prepared."""
    return tmp_path_factory.mktemp("events") / "prepared"


def shuffle_labels(source: Path, target: Path, seed: int = 0) -> None:
    """Copy a data set with the boxes of every training image moved to another image."""
    shutil.copytree(source, target)
    path = target / "train" / "_annotations.coco.json"
    coco = json.loads(path.read_text())
    ids = [image["id"] for image in coco["images"]]
    moved = dict(zip(ids, random.Random(seed).sample(ids, len(ids)), strict=True))
    for annotation in coco["annotations"]:
        annotation["image_id"] = moved[annotation["image_id"]]
    path.write_text(json.dumps(coco))


def shuffle_recordings(source: Path, target: Path) -> None:
    """Copy raw recordings with the boxes of every training recording moved to the next one."""
    shutil.copytree(source, target)
    files = sorted((target / "train").glob("*_bbox.npy"))
    boxes = [file.read_bytes() for file in files]
    for file, moved in zip(files, boxes[1:] + boxes[:1], strict=True):
        file.write_bytes(moved)


@pytest.mark.slow
def test_labels_of_other_images_teach_nothing(heads, tmp_path):
    shuffle_labels(heads, tmp_path / "shuffled")
    root = f"dataset.root={tmp_path / 'shuffled'}"
    run_script(CONFIG, tmp_path / "run", ["dataset.generate=null", root], threads=2)
    assert results(tmp_path / "run")["valid"]["bbox/AP50"] < 5
    valid = [
        CocoSplits(str(root)).filtered("valid").path for root in (heads, tmp_path / "shuffled")
    ]
    assert valid[0].read_bytes() == valid[1].read_bytes()


@pytest.mark.slow
def test_labels_of_other_recordings_teach_nothing(events, tmp_path):
    cfg = load_config(ROOT / EVENTS, [f"dataset.root={events}"])
    instantiate(to_plain(cfg.dataset)).recordings("train")
    shuffle_recordings(events.with_name("prepared_raw"), tmp_path / "raw")
    how = ["--class-map", cfg.dataset.class_map, "--downsample", cfg.dataset.downsample]
    folders = [str(tmp_path / "raw"), str(tmp_path / "shuffled")]
    done = execute([sys.executable, "tools/prepare_events.py", *folders, *how])
    assert done.returncode == 0, done.stdout + done.stderr
    root = f"dataset.root={tmp_path / 'shuffled'}"
    run_script(EVENTS, tmp_path / "run", ["dataset.generate=null", root], threads=2)
    assert results(tmp_path / "run")["valid"]["bbox/AP50"] < 5


def test_untrained_models_find_nothing(tmp_path):
    """On what the demo's data begin with: nothing is learned from the rest of them."""
    for config, fewer in (
        (CONFIG, ["train=4", "valid=8", "test=1"]),
        (EVENTS, ["train=1", "val=1", "test=1", "seconds=0.6"]),
    ):
        run, data = tmp_path / Path(config).stem, tmp_path / "data" / Path(config).stem
        there = [f"dataset.root={data}", *(f"dataset.generate.{count}" for count in fewer)]
        some = ["train.total_batch_size=2", "train.micro_batch_size=2"]
        if config == CONFIG:
            some.append("train.images=4")
        run_script(config, run, [*there, *some, *ONCE])
        assert results(run)["valid"]["bbox/AP50"] < 5


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, EVENTS])
def test_the_demo_learns(config, heads, events, tmp_path):
    root = heads if config == CONFIG else events
    run_script(config, tmp_path, [f"dataset.root={root}"], threads=2)
    assert results(tmp_path)["valid"]["bbox/AP50"] >= 60
