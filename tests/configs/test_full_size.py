"""Each of the nine real configs, at full model and input size: two steps and an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
from script_runs import ROOT, command, execute, metrics, results

from smalldet.backbones.vim.random_checkpoint import write_random_checkpoint
from toydata.heads import GeneratedHeads

pytestmark = pytest.mark.slow
CONFIGS = sorted((ROOT / "configs" / "ofat").glob("*.py"))
FROZEN = 7_224_384  # 24 blocks, patch embedding, 1,601 positions and the class token
TRAINABLE = 49_489_617  # pyramid 2,664,880, proposals 1,184,015, boxes 45,640,722


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[str]:
    folder: Path = tmp_path_factory.mktemp("full_size")
    wanted = {"seed": 0, "image_size": 640, "train": 4, "valid": 2, "test": 2}
    GeneratedHeads(**wanted).ensure(folder / "coco")
    weights = write_random_checkpoint(folder / "vim_tiny.pth")
    return [
        f"dataset.root={folder / 'coco'}",
        f"model.backbone.bottom_up.init_checkpoint={weights}",
        "dataloader.num_workers=0",
        "train.images=4",
        "train.max_iter=2",
        "train.log_period=1",
        "train.eval_period=2",
        "train.checkpointer.period=2",
    ]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_two_steps_and_an_evaluation(config, inputs, tmp_path):
    done = execute(command(config, tmp_path, inputs), threads=2)
    assert done.returncode == 0, done.stdout + done.stderr
    scores = results(tmp_path)
    assert scores["parameters"] == {"trainable": TRAINABLE, "frozen": FROZEN}
    assert scores["valid"]["bbox/num_images"] == scores["test"]["bbox/num_images"] == 2
    assert scores["valid"]["bbox/AP"] is not None
    steps = [row for row in metrics(tmp_path) if "total_loss" in row]
    assert len(steps) == 2 and all(row["total_loss"] > 0 for row in steps)
    for checkpoint in tmp_path.glob("*.pth"):
        checkpoint.unlink()
