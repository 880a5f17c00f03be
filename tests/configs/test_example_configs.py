"""The examples at toy size, configs and a script for Detectron2 alike, train and are scored."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from script_runs import execute

from labbook.config.load import load_config, to_plain
from smalldet.engine.run import run
from toydata.heads import GeneratedHeads

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["max_iter=2", "eval_period=2", "checkpointer.period=2", "log_period=1"]
SHORT = [f"train.{item}" for item in (*SHORT, "total_batch_size=2", "micro_batch_size=1")]
HEADS = [
    "dataset.generate={_target_: toydata.heads.GeneratedHeads, image_size: [64, 96], train: 2, "
    "valid: 2, test: 2}",
    "dataloader.image_size=96",
    "dataloader.num_workers=0",
    "train.images=2",
]
VIM = [
    "model.backbone.bottom_up.depth=2",
    "model.backbone.bottom_up.embed_dim=32",
    "model.backbone.bottom_up.init_checkpoint=''",
    "model.backbone.out_channels=32",
]
EXAMPLES = {
    "small_heads": HEADS,
    "yolox_vim_tiny": [*HEADS, *VIM, "model.head.width=16"],
    "augmented_heads": [
        *HEADS,
        *VIM,
        "dataloader.train.num_workers=1",
        "model.roi_heads.box_heads.0.conv_dims=[32]",
        "model.roi_heads.box_heads.0.fc_dims=[32]",
        "model.roi_heads.batch_size_per_image=32",
        "model.proposal_generator.pre_nms_topk=[60, 40]",
    ],
    "cascade_rcnn_rvt": [
        "dataset.generate={_target_: toydata.streets.GeneratedRecordings, train: 1, val: 1, "
        "test: 1, seconds: 0.8, width: 128, height: 96}",
        "dataset.downsample=none",
        "dataloader.sequence_length=3",
        "dataloader.train.num_workers=0",
        "dataloader.valid.num_workers=0",
        "dataloader.test.num_workers=0",
        "dataloader.valid.limit=2",
        "dataloader.test.limit=2",
        "model.backbone.bottom_up={embed_dim: 16, dim_head: 16, partition_split: 1}",
        "model.backbone.depth=0.33",
        "model.head.projected_channels=32",
        "model.head.parts.roi_heads.box_heads.0.conv_dims=[32]",
        "model.head.parts.roi_heads.box_heads.0.fc_dims=[32]",
        "model.head.parts.roi_heads.batch_size_per_image=32",
        "model.head.parts.proposal_generator.pre_nms_topk=[60, 40]",
    ],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_trains_and_is_scored(name: str, tmp_path: Path):
    folders = [f"dataset.root={tmp_path / 'data'}", f"train.output_dir={tmp_path / 'run'}"]
    config = ROOT / "configs" / "examples" / f"{name}.py"
    assert {*EXAMPLES, "own_script"} == {path.stem for path in config.parent.glob("*.py")}
    results = run(to_plain(load_config(config, [*SHORT, *EXAMPLES[name], *folders])))
    assert results["iterations"] == 2 and 0 < results["final_loss"] < float("inf")
    assert results["test"]["bbox/num_images"] == 2 and "bbox/AP50" in results["test"]


def test_someone_s_own_script_trains_and_is_scored(tmp_path: Path):
    GeneratedHeads(seed=0, image_size=64, train=4, valid=2, test=1).ensure(tmp_path / "data")
    options = ["--steps=3", "--size=64", "--depth=1"]
    command = [sys.executable, "configs/examples/own_script.py", str(tmp_path / "data"), *options]
    done = execute(command)
    assert done.returncode == 0, done.stdout
    assert "'AP50'" in done.stdout.splitlines()[-1]
