"""Detectron2's meta architecture from our parts: names, counts, precision, operators."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
import torchvision
from detectron2.layers import batched_nms
from detectron2.modeling import GeneralizedRCNN
from detectron2.utils.events import EventStorage

from smalldet.necks.simple_pyramid import SimpleFeaturePyramid
from toy_detection import (
    RECOMPUTED,
    generalized_rcnn,
    gradients,
    labelled_image,
    one_map,
    rcnn_head,
)

BATCH = [labelled_image(64, 96, 3), labelled_image(64, 96, 0, seed=1)]


def build(checkpoint: bool = False) -> GeneralizedRCNN:
    """On a frozen backbone; ``checkpoint`` in neck and head."""
    backbone = one_map(channels=32)
    backbone.freeze()
    neck = SimpleFeaturePyramid(backbone, out_channels=8, checkpoint=checkpoint)
    return generalized_rcnn(neck, rcnn_head({RECOMPUTED: checkpoint}))


def train_step(model: GeneralizedRCNN, autocast: bool = False) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)  # Detectron2 draws the anchors and proposals that it samples
    with EventStorage(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        losses = model(BATCH)
    sum(losses.values()).backward()
    return losses


def test_names_are_those_of_detectron2():
    model = build()
    names = set(model.state_dict())
    assert type(model) is GeneralizedRCNN
    assert {
        "backbone.simfp_2.4.norm.weight",
        "proposal_generator.rpn_head.conv.conv1.weight",
        "proposal_generator.rpn_head.anchor_deltas.bias",
        "roi_heads.box_head.2.conv1.norm.weight",
        "roi_heads.box_head.0.fc1.weight",
        "roi_heads.box_predictor.1.cls_score.weight",
    } <= names
    roots = {name.split(".")[0] for name in names}
    assert roots == {"backbone", "proposal_generator", "roi_heads"}


def test_recomputation_changes_no_number():
    kept, recomputed = build(), build(checkpoint=True)
    recomputed.load_state_dict(kept.state_dict())
    expected, found = train_step(kept), train_step(recomputed)
    assert all(torch.equal(loss, expected[name]) for name, loss in found.items())
    for name, grad in gradients(kept).items():
        assert torch.equal(grad, gradients(recomputed)[name]), name


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_step_under_bf16_is_close_to_one_in_fp32(checkpoint: bool):
    model = build(checkpoint)
    exact = train_step(model)
    model.zero_grad()
    rough = train_step(model, autocast=True)
    assert all(grad.isfinite().all() for grad in gradients(model).values())
    assert all(loss.dtype == torch.float32 for loss in rough.values())
    assert rough["loss_rpn_cls"].item() == pytest.approx(exact["loss_rpn_cls"].item(), rel=0.02)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        detections = model.eval()(BATCH)
    assert detections[0]["instances"].pred_boxes.tensor.dtype == torch.float32


def test_operators_are_torchvisions():
    """A pure-Python Detectron2 has no compiled ones."""
    assert import_module("detectron2.layers.roi_align").roi_align is torchvision.ops.roi_align
    assert import_module("detectron2.layers.nms").box_ops is torchvision.ops.boxes
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    scores, classes = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1])
    assert batched_nms(boxes, scores, classes, 0.5).tolist() == [0, 2]
