"""A backbone of one input size takes smaller images of any shape: they are padded to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from smalldet.backbones.vim import VisionMamba
from smalldet.data.augment import ResizeToFit
from smalldet.detectors.image import ImageDetector
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid
from smalldet.predict.images import ImagePredictor
from toy_detection import SCORE, generalized_rcnn, labelled_image, rcnn_head

MEAN = (124, 116, 104)
SIZES = [(64, 40), (40, 64), (64, 64), (9, 64), (33, 17)]


def neck() -> SimpleFeaturePyramid:
    return SimpleFeaturePyramid(VisionMamba(64, embed_dim=16, depth=1), out_channels=8)


@pytest.fixture(params=["Detectron2's", "ours"])
def model(request) -> nn.Module:
    torch.manual_seed(0)
    if request.param == "ours":
        return ImageDetector(neck(), YOLOXHead(1, width=8, score_threshold=0.0), MEAN)
    return generalized_rcnn(neck(), rcnn_head({SCORE: 0.0}))


def test_training_and_detections_of_any_shape(model: nn.Module) -> None:
    with EventStorage():
        losses = model([labelled_image(*size, boxes=1) for size in SIZES if min(size) > 16])
    assert all(loss.isfinite() for loss in losses.values())
    for height, width in SIZES:
        inputs = {**labelled_image(height, width, 1), "height": 2 * height, "width": 2 * width}
        assert model.preprocess_image([inputs]).tensor.shape == (1, 3, 64, 64)
        with torch.no_grad():
            (found,) = model.eval()([inputs])
        boxes = found["instances"].pred_boxes.tensor
        assert len(boxes) and found["instances"].image_size == (2 * height, 2 * width)
        assert (boxes >= 0).all() and (boxes <= torch.tensor([width, height] * 2) * 2).all()


def test_the_backbone_sees_what_it_would_see_of_an_image_padded_by_hand(model: nn.Module) -> None:
    model.pixel_mean.copy_(torch.tensor(MEAN).view(-1, 1, 1))
    by_hand = torch.tensor(MEAN, dtype=torch.uint8).view(-1, 1, 1).repeat(1, 64, 64)
    image = labelled_image(40, 50, 0)["image"]
    by_hand[:, :40, :50] = image
    seen, expected = (model.preprocess_image([{"image": x}]).tensor for x in (image, by_hand))
    assert torch.equal(seen, expected)


def test_larger_images_are_refused_with_both_sizes(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"64x64 pixels.*64, 128"), torch.no_grad():
        model.eval()([labelled_image(64, 65, 0)])


@pytest.mark.parametrize("size", [(200, 100), (100, 200), (128, 128), (30, 20)])
def test_predictions_lie_in_the_photograph(model: nn.Module, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    found = ImagePredictor(model, ["head"], [ResizeToFit(64)]).predict(image)
    corners = found.pred_boxes.tensor.reshape(-1, 2)
    assert len(corners) and found.image_size == size
    assert (corners >= 0).all() and (corners <= torch.tensor(size[::-1])).all()
