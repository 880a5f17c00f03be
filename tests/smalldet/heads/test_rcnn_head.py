"""The Cascade R-CNN head: numbers, counts, labels, and the features it takes."""

from __future__ import annotations

import copy

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from smalldet.heads.rcnn import RCNNHead
from toy_detection import (
    SCORE,
    PatchBackbone,
    golden,
    gradients,
    labelled_image,
    pyramid,
    rcnn_head,
    rcnn_parts,
    relative_error,
    state_of,
)

SIZES = [(64, 96), (60, 80)]


def features_of(backbone: PatchBackbone) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return backbone(torch.randn(2, 3, 64, 128))


def losses_of(head: nn.Module, features: dict[str, Tensor], boxes: int = 3) -> dict[str, Tensor]:
    instances = [labelled_image(h, w, boxes, seed=h)["instances"] for h, w in SIZES]
    torch.manual_seed(1)  # Detectron2 draws the anchors and proposals that it samples
    with EventStorage():
        return head.losses(features, instances)


def test_proposal_head_and_anchors_equal_the_published_ones():
    arrays = golden("vim/rpn_head.npz")
    rpn = RCNNHead(rcnn_parts({})).build(pyramid(16).output_shape()).proposal_generator
    rpn.rpn_head.load_state_dict(state_of(arrays, "sd."))
    features = [arrays[f"feat{level}"] for level in range(5)]
    logits, deltas = rpn.rpn_head(features)
    anchors = rpn.anchor_generator(features)
    for level in range(5):
        assert relative_error(logits[level], arrays[f"logits{level}"]) < 1e-5
        assert relative_error(deltas[level], arrays[f"deltas{level}"]) < 1e-5
        assert relative_error(anchors[level].tensor, arrays[f"anchors{level}"]) < 1e-6


def test_parameter_counts_of_the_baseline():
    head = RCNNHead(rcnn_parts({})).build(pyramid(256).output_shape())
    roi = head.roi_heads
    parts = (head.proposal_generator, roi.box_head, roi.box_predictor, head.projections)
    counts = [sum(p.numel() for p in part.parameters()) for part in parts]
    assert counts == [1_184_015, 45_622_272, 18_450, 0]


@pytest.mark.parametrize("boxes", [0, 3])
def test_losses_are_finite_and_reach_every_parameter(boxes: int):
    backbone = pyramid()
    head = rcnn_head().build(backbone.output_shape())
    losses = losses_of(head, features_of(backbone), boxes)
    assert len(losses) == 8 and all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    for module in (head, backbone):
        assert all(grad is not None for grad in gradients(module).values())
    if boxes == 0:
        assert losses["loss_rpn_loc"] == 0 and losses["loss_box_reg_stage0"] == 0
        assert losses["loss_rpn_cls"] > 0


def test_levels_of_unequal_width_are_projected():
    backbone = PatchBackbone({"dark5": (24, 32), "dark3": (8, 8), "dark4": (16, 16)})
    head = rcnn_head(projected_channels=16).build(backbone.output_shape())
    assert set(head.projections) == {"dark3", "dark5"}
    assert head.proposal_generator.in_features == ["dark3", "dark4", "dark5"]
    assert head.proposal_generator.anchor_generator.strides == [8, 16, 32]
    sum(losses_of(head, features_of(backbone)).values()).backward()
    assert all(grad is not None for grad in gradients(head).values())


def test_detections_lie_in_their_images_and_keep_to_the_limits():
    backbone = pyramid()
    most = "roi_heads.box_predictors.0.test_topk_per_image"
    head = rcnn_head({SCORE: 0.0, most: 7}).build(backbone.output_shape()).eval()
    with torch.no_grad():
        detections = head.predict(features_of(backbone), SIZES)
        small, _ = head.predict(features_of(backbone), [(32, 32), (64, 128)])
    assert small.pred_boxes.tensor.max() <= 32  # padding beyond the image draws no box
    for found, (height, width) in zip(detections, SIZES, strict=True):
        x0, y0, x1, y1 = found.pred_boxes.tensor.unbind(1)
        assert 0 < len(found) <= 7 and found.image_size == (height, width)
        assert x0.min() >= 0 and y0.min() >= 0 and x1.max() <= width and y1.max() <= height


def test_the_wrong_mode_is_a_sentence():
    backbone = pyramid()
    head = rcnn_head().build(backbone.output_shape())
    with pytest.raises(RuntimeError, match=r"Call eval\(\) first"):
        head.predict(features_of(backbone), SIZES)
    with pytest.raises(RuntimeError, match=r"Call train\(\)"):
        losses_of(copy.deepcopy(head).eval(), features_of(backbone))
