"""What of Cascade R-CNN follows from a backbone, what reaches Detectron2, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from smalldet.heads.rcnn import RCNNHead
from toy_detection import QUICK, PatchBackbone, one_map, pyramid, rcnn_head, rcnn_parts

SIZES = "proposal_generator.anchor_generator.sizes"
NARROW = {"roi_heads.box_heads.0.conv_dims": [8] * 4, "roi_heads.box_heads.0.fc_dims": [8]}


def test_defaults_are_the_table_of_the_baseline():
    head = RCNNHead(rcnn_parts(NARROW)).build(pyramid(8).output_shape())
    rpn, boxes = head.proposal_generator, head.roi_heads
    assert (rpn.batch_size_per_image, rpn.positive_fraction, rpn.nms_thresh) == (256, 0.5, 0.7)
    assert rpn.pre_nms_topk == {True: 2000, False: 1000}
    assert rpn.post_nms_topk == {True: 1000, False: 1000}
    assert rpn.anchor_matcher.thresholds[1:3] == [0.3, 0.7]
    assert rpn.anchor_matcher.allow_low_quality_matches and rpn.smooth_l1_beta == 0
    assert (boxes.batch_size_per_image, boxes.positive_fraction) == (512, 0.25)
    assert boxes.box_in_features == ["p2", "p3", "p4", "p5"] and boxes.proposal_append_gt
    assert [matcher.thresholds[1] for matcher in boxes.proposal_matchers] == [0.5, 0.6, 0.7]
    assert not any(matcher.allow_low_quality_matches for matcher in boxes.proposal_matchers)
    weights = [list(predictor.box2box_transform.weights) for predictor in boxes.box_predictor]
    assert weights == [[10, 10, 5, 5], [20, 20, 10, 10], [30, 30, 15, 15]]
    predictor = boxes.box_predictor[2]
    assert predictor.test_score_thresh == 0.05 and predictor.test_nms_thresh == 0.5
    assert predictor.test_topk_per_image == 100 and predictor.bbox_pred.out_features == 4
    pooler = boxes.box_pooler
    assert pooler.output_size == (7, 7) and pooler.level_poolers[0].sampling_ratio == 0
    assert [p.spatial_scale for p in pooler.level_poolers] == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert all(p.aligned for p in pooler.level_poolers)
    assert not boxes.mask_on


def anchor_sizes(head: RCNNHead) -> list[float]:
    """Roots of the areas of the anchors, px, level by level."""
    cells = head.proposal_generator.anchor_generator.cell_anchors
    return [float((x1 - x0) * (y1 - y0)) ** 0.5 for (x0, y0, x1, y1), *_ in cells]


def test_anchors_follow_the_strides_unless_given():
    halved = {SIZES: [[16], [32], [64], [128], [256]]}
    for changes, backbone, sizes in [
        ({}, pyramid(), [32, 64, 128, 256, 512]),
        (halved, pyramid(), [16, 32, 64, 128, 256]),
        ({}, one_map(stride=16), [128]),
    ]:
        head = rcnn_head(changes).build(backbone.output_shape())
        assert anchor_sizes(head) == pytest.approx(sizes)


def test_any_argument_of_detectron2_is_reachable():
    changes = {
        SIZES: [[16, 24], [32, 48], [64, 96], [128, 192], [256, 384]],
        "proposal_generator.post_nms_topk": [10, 5],
        "proposal_generator.anchor_boundary_thresh": 0.0,
        "roi_heads.proposal_append_gt": False,
        "roi_heads.box_in_features": ["p3", "p2"],
        "roi_heads.box_heads": [OmegaConf.select(rcnn_parts(QUICK), "roi_heads.box_heads.0")],
        "roi_heads.box_predictors": [rcnn_parts(QUICK).roi_heads.box_predictors[0]],
        "roi_heads.proposal_matchers": [rcnn_parts(QUICK).roi_heads.proposal_matchers[0]],
        "roi_heads.box_predictors.0.box_reg_loss_type": "giou",
    }
    head = rcnn_head(changes).build(pyramid(8).output_shape())
    assert head.proposal_generator.post_nms_topk == {True: 10, False: 5}
    assert head.proposal_generator.anchor_boundary_thresh == 0
    assert head.proposal_generator.anchor_generator.num_anchors == [6] * 5
    assert head.roi_heads.num_cascade_stages == 1 and not head.roi_heads.proposal_append_gt
    assert head.roi_heads.box_in_features == ["p2", "p3"]
    assert head.roi_heads.box_predictor[0].box_reg_loss_type == "giou"


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({SIZES: [[32], [64]]}, "2 lists .* 5 levels"),
        ({SIZES: [[8, 16], [32], [64], [128], [256]]}, "same number of sizes"),
        ({"roi_heads.box_in_features": ["p2", "p4"]}, r"\[4, 16\]; each must be a power of two"),
        ({"proposal_generator.in_features": ["res4"]}, "the levels p2, p3, p4, p5, p6"),
        (
            {"proposal_generator.in_features": ["p2"], "roi_heads.box_in_features": ["p3"]},
            r"the levels p2\. ",
        ),
    ],
)
def test_arguments_that_do_not_fit_the_levels_are_refused(changes: dict[str, Any], facts: str):
    with pytest.raises(ValueError, match=facts):
        rcnn_head(changes).build(pyramid(8).output_shape())


def test_strides_that_are_no_power_of_two_are_refused_for_pooling():
    with pytest.raises(ValueError, match="power of two"):
        rcnn_head().build(PatchBackbone({"last_feat": (8, 14)}).output_shape())
