"""Detectors of images: Detectron2's own of our parts, ours equal to it and open to other heads."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
import torchvision
from detectron2.layers import batched_nms
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from smalldet.detectors.base import padded_batch
from smalldet.detectors.image import ImageDetector
from smalldet.heads.base import Head
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid
from toy_detection import (
    RECOMPUTED,
    SCORE,
    PatchBackbone,
    generalized_rcnn,
    gradients,
    labelled_image,
    one_map,
    pyramid,
    rcnn_head,
)


def losses_of(model: nn.Module, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)  # Detectron2 draws the anchors and proposals that it samples
    with EventStorage():
        return model(batch)


@pytest.fixture
def twins() -> tuple[nn.Module, ImageDetector]:
    """Detectron2's model and ours with equal weights, detecting at any score."""
    theirs = generalized_rcnn(pyramid(), rcnn_head({SCORE: 0.0}))
    ours = ImageDetector(pyramid(), rcnn_head({SCORE: 0.0}))
    ours.backbone.load_state_dict(theirs.backbone.state_dict())
    ours.head.proposal_generator.load_state_dict(theirs.proposal_generator.state_dict())
    ours.head.roi_heads.load_state_dict(theirs.roi_heads.state_dict())
    return theirs, ours


BATCHES = [
    [labelled_image(64, 64, 3), labelled_image(64, 64, 2, seed=1)],
    [labelled_image(60, 90, 3), labelled_image(70, 50, 0)],
]


@pytest.mark.parametrize("batch", BATCHES)
def test_losses_gradients_and_detections_equal_those_of_generalized_rcnn(twins, batch):
    theirs, ours = twins
    expected, found = losses_of(theirs, batch), losses_of(ours, batch)
    assert found.keys() == expected.keys()
    for name, loss in found.items():
        assert torch.equal(loss, expected[name]), name
    for losses in (expected, found):
        sum(losses.values()).backward()
    for name, grad in gradients(ours.backbone).items():
        assert torch.equal(grad, gradients(theirs.backbone)[name]), name
    batch = [{**inputs, "height": 130, "width": 170} for inputs in batch]
    with torch.no_grad():
        sides = [[output["instances"] for output in model.eval()(batch)] for model in twins]
    for theirs, ours in zip(*sides, strict=True):
        assert len(ours) > 0 and ours.image_size == (130, 170)
        assert torch.equal(ours.pred_boxes.tensor, theirs.pred_boxes.tensor)
        assert torch.equal(ours.scores, theirs.scores)
        assert torch.equal(ours.pred_classes, theirs.pred_classes)


class WholeImage(Head):
    """A head of its own kind: one box an image, as large as the image."""

    def build(self, input_shape):
        self.score = nn.Linear(input_shape["last_feat"].channels, 1)
        return self

    def losses(self, features, instances):
        return {"loss": self.score(features["last_feat"].mean((2, 3))).sum() * len(instances)}

    def predict(self, features, image_sizes):
        boxes = [torch.tensor([[0.0, 0.0, w, h]]) for h, w in image_sizes]
        return [
            Instances(size, pred_boxes=Boxes(box), scores=torch.ones(1))
            for size, box in zip(image_sizes, boxes, strict=True)
        ]


def test_any_head_fits_and_its_boxes_are_rescaled():
    model = ImageDetector(one_map(), WholeImage())
    assert model(BATCHES[0])["loss"].requires_grad
    inputs = labelled_image(48, 64, 1)
    rescaled = model.eval()([{**inputs, "height": 96, "width": 32}])[0]["instances"]
    assert rescaled.pred_boxes.tensor.tolist() == [[0, 0, 32, 96]]
    kept = model([{"image": inputs["image"]}])[0]["instances"]
    assert kept.pred_boxes.tensor.tolist() == [[0, 0, 64, 48]]


def test_padding_is_zero_after_normalising_and_as_declared():
    images = [torch.ones(3, 20, 40), torch.ones(3, 30, 10)]
    batch = padded_batch(images, one_map(stride=16))
    assert batch.tensor.shape == (2, 3, 32, 48) and batch.image_sizes == [(20, 40), (30, 10)]
    assert batch.tensor.sum() == 3 * (20 * 40 + 30 * 10)

    class Square(PatchBackbone):
        @property
        def padding_constraints(self):
            return {"square_size": 64, "size_divisibility": 16}

    assert padded_batch(images, Square({"a": (4, 16)})).tensor.shape[-2:] == (64, 64)


def test_training_without_labels_is_a_sentence_and_pixel_statistics_are_not_saved():
    assert META_ARCH_REGISTRY.get("ImageDetector") is ImageDetector
    model = ImageDetector(one_map(), WholeImage(), pixel_mean=[0, 0, 0], pixel_std=[1] * 3)
    assert not any("pixel" in name for name in model.state_dict())
    assert model.pixel_std.shape == (3, 1, 1) and model.device.type == "cpu"
    with pytest.raises(ValueError, match=r"No 'instances' in the input of street\.png"):
        model([{"image": torch.zeros(3, 32, 32), "file_name": "street.png"}])


PAIR = [labelled_image(64, 96, 3), labelled_image(64, 96, 0, seed=1)]


def build(checkpoint: bool = False) -> GeneralizedRCNN:
    """On a frozen backbone; ``checkpoint`` in neck and head."""
    backbone = one_map(channels=32)
    backbone.freeze()
    neck = SimpleFeaturePyramid(backbone, out_channels=8, checkpoint=checkpoint)
    return generalized_rcnn(neck, rcnn_head({RECOMPUTED: checkpoint}))


def train_step(model: GeneralizedRCNN, autocast: bool = False) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)  # Detectron2 draws the anchors and proposals that it samples
    with EventStorage(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        losses = model(PAIR)
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
        detections = model.eval()(PAIR)
    assert detections[0]["instances"].pred_boxes.tensor.dtype == torch.float32


def test_operators_are_torchvisions():
    """A pure-Python Detectron2 has no compiled ones."""
    assert import_module("detectron2.layers.roi_align").roi_align is torchvision.ops.roi_align
    assert import_module("detectron2.layers.nms").box_ops is torchvision.ops.boxes
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    scores, classes = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1])
    assert batched_nms(boxes, scores, classes, 0.5).tolist() == [0, 2]
