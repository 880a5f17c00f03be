"""The study small_objects: the OFAT baseline in other classes, and one value moved by each rung."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from detectron2.config import instantiate
from loaded_once import load_config
from omegaconf import DictConfig, OmegaConf

from labbook.config.load import diff_configs, to_plain
from labbook.config.resume import is_measured
from labbook.config.studies import find_experiments, get_study
from smalldet.heads.rcnn_boxes import SmallObjectPredictor, SmallObjectRPN

ROOT = Path(__file__).resolve().parents[2]
LOSS = "model.proposal_generator.box_reg_loss_type"
METRIC = "model.proposal_generator.assignment_metric"
ANCHORS = "model.proposal_generator.anchor_generator.sizes"
RUNGS: dict[str, tuple[str, Any]] = {
    "giou": (LOSS, "giou"),
    "diou": (LOSS, "diou"),
    "ciou": (LOSS, "ciou"),
    "nwd": (LOSS, "nwd"),
    "nwd_assignment": (METRIC, "nwd"),
    "small_anchors": (ANCHORS, [[16], [32], [64], [128], [256]]),
}


def path_of(name: str, folder: str = "small_objects") -> Path:
    return ROOT / "configs" / folder / f"{name}.py"


@cache
def loaded(name: str, folder: str = "small_objects") -> DictConfig:
    return load_config(path_of(name, folder))


def parts_of(*overrides: str) -> tuple[Any, Any]:
    """RPN and ROI heads of a toy version with these overrides, as they would train."""
    cfg = load_config(path_of("baseline", "debug/small_objects"), overrides)
    model = instantiate(to_plain(cfg.model))
    return model.proposal_generator, model.roi_heads


@pytest.mark.parametrize("debug", [False, True])
def test_the_study_holds_the_rungs_in_its_order(debug: bool):
    found = find_experiments(get_study("small_objects", ROOT, debug), ROOT)
    assert list(found) == ["baseline", *RUNGS]


def test_the_baseline_is_ofat_s_but_for_classes_whose_defaults_it_keeps():
    ofat = loaded("baseline_lr0.001_bs8_adamw_ep100", "ofat")
    found = {key for key in diff_configs(ofat, loaded("baseline")) if is_measured(key)}
    parts = ["proposal_generator", *(f"roi_heads.box_predictors.{stage}" for stage in range(3))]
    assert {key for key in found if key.endswith("_target_") and "loss_weight" not in key} == {
        f"model.{part}._target_" for part in parts
    }
    added = ("_target_", "box_reg_loss_type", "nwd_size", "assignment_metric", "delta_weight")
    assert all(key.endswith(added) for key in found)
    rpn, heads = parts_of()
    assert isinstance(rpn, SmallObjectRPN) and rpn.box_loss is None
    assert rpn.assignment_metric == "iou"
    for predictor in heads.box_predictor:
        assert isinstance(predictor, SmallObjectPredictor) and predictor.box_loss is None
        assert predictor.loss_weight == {"loss_box_reg": 1.0}


@pytest.mark.parametrize("name", RUNGS)
def test_each_rung_moves_one_value(name: str):
    (key, value), cfg = RUNGS[name], loaded(name)
    assert cfg.experiment.parent == "small_objects_baseline"
    assert list(cfg.experiment.factors) == [key]
    found = diff_configs(loaded("baseline"), cfg, resolved=False)
    assert {other for other in found if is_measured(other)} == {key}
    assert OmegaConf.select(cfg, key) == value
    toy = [[4], [8], [16], [32], [64]] if key == ANCHORS else value
    assert OmegaConf.select(loaded(name, "debug/small_objects"), key) == toy


@pytest.mark.parametrize("name", RUNGS)
def test_rungs_say_what_they_ask(name: str):
    text = path_of(name).read_text()
    run = f"lab.py run small_objects --only {name}\n"
    assert all(word in text for word in ("Question:", "Hypothesis:", run))


def test_one_value_reaches_all_stages_with_weights_that_keep_their_share():
    rpn, heads = parts_of(f"{LOSS}=nwd", "model.proposal_generator.nwd_size=20")
    assert rpn.box_loss.loss.keywords == {"size": 20}
    assert rpn.loss_weight == {"loss_rpn_cls": 1.0, "loss_rpn_loc": 1.0}
    for predictor, weight in zip(heads.box_predictor, (10, 20, 30), strict=True):
        assert predictor.box_loss.loss.keywords == {"size": 20}
        assert predictor.loss_weight == {"loss_box_reg": weight}


def test_a_stage_may_have_a_loss_and_a_weight_of_its_own():
    first, second = (f"model.roi_heads.box_predictors.{stage}" for stage in range(2))
    own = [f"{first}.box_reg_loss_type=giou", f"{second}.loss_weight.delta_weight=4"]
    rpn, heads = parts_of(*own, f"{second}.box_reg_loss_type=diou")
    assert rpn.box_loss is None and heads.box_predictor[2].box_loss is None
    weights = [predictor.loss_weight["loss_box_reg"] for predictor in heads.box_predictor]
    assert weights == [10, 4, 1]
