"""The study of backbones: OFAT's recipe under each, fair weights, and toy versions of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from detectron2.config import instantiate
from loaded_once import load_config

from labbook.config.load import ConfigError, diff_configs, to_plain
from labbook.config.studies import find_studies
from smalldet.engine.feature_cache import frozen_part

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "configs" / "backbones"
OFAT = ROOT / "configs" / "ofat" / "baseline_lr0.001_bs8_adamw_ep100.py"
NAMES = find_studies(ROOT)["backbones"].order
TIMM = [name for name in NAMES if not name.startswith(("baseline", "vim_tiny"))]
FROZEN = ["baseline", "vim_tiny_960", *(name for name in TIMM if name.endswith("_frozen"))]
LEVELS = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}


def loaded(name: str, *overrides: str) -> Any:
    return load_config(STUDY / f"{name}.py", overrides)


def toy_backbone(name: str, *overrides: str) -> Any:
    cfg = load_config(ROOT / "configs/debug/backbones" / f"{name}.py", overrides)
    return instantiate(to_plain(cfg.model.backbone))


def test_the_plan_names_every_config():
    assert {path.stem for path in STUDY.glob("*.py")} == set(NAMES)
    assert len(TIMM) == 2 * 4


def test_the_baseline_trains_as_ofat_s():
    ofat, ours = load_config(OFAT), loaded("baseline")
    about = ("experiment.", "train.output_dir", "evaluation.")
    moved = [key for key in diff_configs(ofat, ours) if not key.startswith(about)]
    assert moved and all(".strides" in key for key in moved), "written otherwise:"
    for cfg in (ofat, ours):
        proposals = instantiate(to_plain(cfg.model.proposal_generator))
        assert proposals.anchor_generator.strides == list(LEVELS.values())
        assert proposals.rpn_head.anchor_deltas.out_channels == 4 * 3
        scales = instantiate(to_plain(cfg.model.roi_heads.box_pooler.scales))
        assert scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_trained_and_scored_as_the_baseline(name: str):
    """Backbone and input alone differ, and what follows from the size of the input."""
    free = ("experiment.", "train.output_dir", "model.backbone.", "dataloader.image_size")
    moved = diff_configs(loaded("baseline"), loaded(name))
    moved = {key: values for key, values in moved.items() if not key.startswith(free)}
    assert all(values == (640, 960) for values in moved.values()), moved
    assert loaded(name).evaluation.test.tile == loaded(name).evaluation.valid.tile == 320


@pytest.mark.parametrize("name", TIMM)
def test_weights_are_of_imagenet_1k_and_normalised_as_the_config_says(name: str):
    cfg = loaded(name)
    bottom_up = cfg.model.backbone.bottom_up
    assert bottom_up.pretrained and bottom_up.model_name in timm.list_pretrained()
    assert bottom_up.model_name.endswith("_in1k") and "in2" not in bottom_up.model_name
    known = timm.get_pretrained_cfg(bottom_up.model_name)
    for ours, theirs in ((cfg.model.pixel_mean, known.mean), (cfg.model.pixel_std, known.std)):
        assert list(ours) == pytest.approx([255 * x for x in theirs], rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_toy_backbones_have_the_levels_of_the_heads(name: str):
    neck = toy_backbone(name)
    assert {level: shape.stride for level, shape in neck.output_shape().items()} == LEVELS
    assert neck.bottom_up.init_checkpoint == "" and not getattr(neck.bottom_up, "pretrained", False)
    learning = {n for n, p in neck.bottom_up.named_parameters() if p.requires_grad}
    assert bool(learning) is (name not in FROZEN)
    assert neck.bottom_up.frozen is (name in FROZEN)


@pytest.mark.parametrize("name", [name for name in TIMM if name.endswith("_frozen")])
def test_images_that_keep_their_aspect_are_taken_too(name: str):
    levels = toy_backbone(name)(torch.rand(1, 3, 160, 96))
    assert levels["p2"].shape[-2:] == (40, 24) and levels["p5"].shape[-2:] == (5, 3)


def test_toy_vim_trains_the_share_of_its_blocks_that_the_real_one_does():
    def blocks(name: str) -> set[str]:
        parameters = toy_backbone(name).bottom_up.named_parameters()
        names = [n for n, p in parameters if p.requires_grad]
        return {".".join(n.split(".")[:2]) if n.startswith("layers") else n for n in names}

    assert blocks("vim_tiny_last4") == {"layers.5"}
    assert blocks("vim_tiny_last8") == {"layers.4", "layers.5"}
    assert {"cls_token", "pos_embed", *(f"layers.{i}" for i in range(6))} < blocks(
        "vim_tiny_finetuned"
    )


def test_a_backbone_trained_in_part_has_no_feature_cache_and_the_advice_works():
    with pytest.raises(ValueError, match=r"Set frozen=true on it \(trainable_layers=null\)"):
        frozen_part(toy_backbone("vim_tiny_last4"))
    key = "model.backbone.bottom_up"
    advice = (f"{key}.frozen=true", f"{key}.trainable_layers=null")
    assert frozen_part(toy_backbone("vim_tiny_last4", *advice)).frozen


def test_recomputation_is_the_simple_pyramid_s_alone():
    cfg = loaded("vit_tiny_frozen", "model.backbone.checkpoint=true")
    assert cfg.model.roi_heads.box_heads[2].checkpoint is True
    assert loaded("resnet50_frozen").model.roi_heads.box_heads[2].checkpoint is False
    with pytest.raises(ConfigError, match=r"model\.backbone\.checkpoint"):
        loaded("resnet50_frozen", "model.backbone.checkpoint=true")
