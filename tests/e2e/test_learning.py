"""The demo's score is learned from its labels: neither chance nor the place of heads gives it."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from detectron2.config import instantiate
from script_runs import ROOT, results, run_script

from labbook.config.load import load_config, to_plain
from smalldet.backbones.vim.random_checkpoint import write_random_checkpoint
from smalldet.data import CocoSplits, register

CONFIG = "configs/debug/demo/heads.py"
EVENTS = "configs/debug/demo/events.py"


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, list[str]]:
    """The demo's data in a folder of its own, and the overrides that point there."""
    folder = tmp_path_factory.mktemp("demo")
    cfg = load_config(ROOT / CONFIG, [f"dataset.root={folder / 'heads'}"])
    register(instantiate(to_plain(cfg.dataset)))
    vim = cfg.model.backbone.bottom_up
    weights = write_random_checkpoint(folder / "vim.pth", vim.depth, vim.embed_dim)
    return folder, [f"model.backbone.bottom_up.init_checkpoint={weights}", "dataset.generate=null"]


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


@pytest.mark.slow
def test_labels_of_other_images_teach_nothing(demo, tmp_path):
    folder, overrides = demo
    shuffle_labels(folder / "heads", folder / "shuffled")
    root = f"dataset.root={folder / 'shuffled'}"
    run_script(CONFIG, tmp_path, [*overrides, root], threads=2)
    assert results(tmp_path)["valid"]["bbox/AP50"] < 5
    valid = [
        CocoSplits(str(folder / name)).filtered("valid").path for name in ("heads", "shuffled")
    ]
    assert valid[0].read_bytes() == valid[1].read_bytes()


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> list[str]:
    """Overrides that put the event demo's data into a folder of its own."""
    return [f"dataset.root={tmp_path_factory.mktemp('events') / 'prepared'}"]


def test_untrained_models_find_nothing(demo, events, tmp_path):
    folder, overrides = demo
    once = ["train.max_iter=1", "train.eval_period=1", "optimizer.lr=0.0"]
    once += ["train.validation_loss=false", "dataloader.test.limit=1"]  # which nobody looks at
    fewer = ["dataset.generate.train=1", "dataset.generate.val=2", "dataset.generate.test=1"]
    for config, there in (
        (CONFIG, [*overrides, f"dataset.root={folder / 'heads'}"]),
        (EVENTS, [f"{events[0]}_small", *fewer]),
    ):
        run = tmp_path / Path(config).stem
        run_script(config, run, [*there, *once])
        assert results(run)["valid"]["bbox/AP50"] < 5


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, EVENTS])
def test_the_demo_learns(config, demo, events, tmp_path):
    folder, overrides = demo
    heads = [*overrides, f"dataset.root={folder / 'heads'}"]
    run_script(config, tmp_path, heads if config == CONFIG else events, threads=2)
    assert results(tmp_path)["valid"]["bbox/AP50"] >= 20
