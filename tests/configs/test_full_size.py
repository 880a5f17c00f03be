"""Each of the nine real configs, at full model and input size: two steps and an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
from script_runs import ROOT, assert_two_steps_and_scores

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
    parameters = assert_two_steps_and_scores(config, tmp_path, inputs)
    assert parameters == {"trainable": TRAINABLE, "frozen": FROZEN}
