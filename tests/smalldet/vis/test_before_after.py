"""The untrained network and the trained one on the same images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import instantiate

from labbook.config.load import load_config, save_config, to_plain
from smalldet.engine.build import build_model
from smalldet.engine.checkpoint import save_whole
from smalldet.engine.settings import read_settings
from smalldet.vis.before_after import before_after_sheet


def write_run(folder, config, overrides, change):
    """A run folder whose weights are those before the first step, with ``change``."""
    cfg = load_config(config, [*overrides, f"train.output_dir={folder}"])
    save_config(cfg, folder)
    plain = to_plain(cfg)
    model = build_model(plain, read_settings(plain["train"]))
    change(model)
    save_whole({"model": model.state_dict()}, folder / "model_best.pth")
    instantiate(plain["dataset"]).records("valid")  # generates them
    return folder


@torch.no_grad()
def shift(model):
    for layer in model.head.reg_preds:
        layer.bias += 0.5


@pytest.mark.parametrize(("change", "is_same"), [(shift, False), (lambda model: None, True)])
def test_the_rows_differ_by_training_alone(tmp_path, change, is_same):
    data = f"dataset.root={tmp_path / 'data'}"
    few = "dataset.generate={seed: 0, image_size: 64, train: 1, valid: 4, test: 1}"
    size = ["dataloader.image_size=64", "model.head.score_threshold=0.0"]
    run = write_run(tmp_path / "run", "configs/debug/demo/heads.py", [data, few, *size], change)
    sheet = cv2.imread(str(before_after_sheet(run, tmp_path / "sheet.png", images=2, tile=128)))
    before, after = np.split(sheet, 2)
    assert before.shape[1] > 2 * 128 and before.shape[0] > 128
    assert np.array_equal(before[-128:], after[-128:]) == is_same
