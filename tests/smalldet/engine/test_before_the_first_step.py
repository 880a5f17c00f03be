"""What is compared before the first step: classes with the data, augmentations with a cache."""

from __future__ import annotations

import logging

import pytest
from detectron2.config import instantiate
from torch import nn

from labbook.config.load import load_config, to_plain
from smalldet.engine.build import head_classes, register_data
from smalldet.engine.feature_cache import check_augmentations, frozen_part
from smalldet.engine.run import run
from smalldet.engine.settings import TrainSettings
from toy_detection import PatchBackbone

OFAT = "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
ETRAM = "configs/debug/etram/baseline_3scale_100k.py"
CONFIGS = [(OFAT, 1), ("configs/examples/yolox_vim_tiny.py", 1), (ETRAM, 8)]


@pytest.mark.parametrize(("config", "classes"), CONFIGS)
def test_every_head_declares_its_classes(config, classes):
    model = without_weights(to_plain(load_config(config).model))
    found = head_classes(instantiate(model))
    assert found and set(found.values()) == {classes}


def without_weights(node):
    if isinstance(node, dict):
        return {k: "" if k == "init_checkpoint" else without_weights(v) for k, v in node.items()}
    return node


def test_detectron2s_places_count_and_others_do_not():
    model = nn.Sequential()
    model.num_classes, model.roi_heads, model.other = 80, nn.Identity(), nn.Identity()
    model.roi_heads.num_classes, model.other.num_classes = 3, 9
    assert head_classes(model) == {"model": 80, "model.roi_heads": 3}


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> list[str]:
    """Overrides that generate small recordings of 8 classes."""
    root = tmp_path_factory.mktemp("data") / "street"
    sizes = "{train: 1, val: 1, test: 1, seconds: 0.5, width: 96, height: 72}"
    return [f"dataset.root={root}", f"dataset.generate={sizes}", "dataset.name=street"]


@pytest.mark.parametrize("eval_only", [False, True])
def test_a_yolox_head_of_20_classes_is_refused_on_data_of_8(street, tmp_path, eval_only):
    folder = tmp_path / "run"
    other = [f"train.output_dir={folder}", "model.head.num_classes=20"]
    cfg = to_plain(load_config(ETRAM, [*street, *other]))
    with pytest.raises(ValueError, match=r"20 classes \(model.head.num_classes\).* has 8"):
        run(cfg, eval_only=eval_only)
    assert {path.name for path in folder.iterdir()} <= {"log.txt"}


def test_a_model_that_does_not_say_its_classes_is_named(street, caplog):
    cfg = to_plain(load_config(ETRAM, street))
    with caplog.at_level(logging.WARNING, logger="smalldet"):
        register_data(cfg, TrainSettings(), nn.Identity())
    assert "Identity does not say how many classes" in caplog.text


def node(name: str, **options):
    return {"_target_": f"detectron2.data.transforms.augmentation_impl.{name}", **options}


def test_only_resizing_and_a_mirror_may_come_before_the_backbone():
    for resize in ("Resize", "ResizeToFit"):
        check_augmentations([node(resize, shape=64), node("RandomFlip", horizontal=True)])
    for random in (node("RandomBrightness"), node("RandomFlip", vertical=True)):
        with pytest.raises(ValueError, match="changes images at random before the frozen backbone"):
            check_augmentations([node("Resize", shape=64), random])


def test_a_model_without_a_frozen_backbone_is_refused():
    with pytest.raises(ValueError, match="0 of PatchBackbone are frozen"):
        frozen_part(PatchBackbone({"p4": (8, 16)}))
