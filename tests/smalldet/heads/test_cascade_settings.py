"""Settings of Cascade R-CNN: what reaches Detectron2, and which values are refused."""

from __future__ import annotations

import pytest
from detectron2.config import LazyCall, instantiate
from omegaconf import OmegaConf

from smalldet.heads.rcnn import CascadeRCNN
from toy_detection import PatchBackbone, one_map, pyramid


def test_defaults_are_the_table_of_the_baseline():
    head = CascadeRCNN(conv_dim=8, fc_dim=8).build(pyramid(8).output_shape())
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
    weights = [predictor.box2box_transform.weights for predictor in boxes.box_predictor]
    assert weights == [(10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15)]
    predictor = boxes.box_predictor[2]
    assert predictor.test_score_thresh == 0.05 and predictor.test_nms_thresh == 0.5
    assert predictor.test_topk_per_image == 100 and predictor.bbox_pred.out_features == 4
    pooler = boxes.box_pooler
    assert pooler.output_size == (7, 7) and pooler.level_poolers[0].sampling_ratio == 0
    assert [p.spatial_scale for p in pooler.level_poolers] == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert all(p.aligned for p in pooler.level_poolers)
    assert not boxes.mask_on


def test_anchors_follow_the_strides_unless_given():
    levels = CascadeRCNN().levels(pyramid().output_shape())
    assert CascadeRCNN().anchors(levels) == [[32], [64], [128], [256], [512]]
    halved = [[16], [32], [64], [128], [256]]
    assert CascadeRCNN(anchor_sizes=halved).anchors(levels) == halved
    assert CascadeRCNN().anchors(one_map(stride=16).output_shape()) == [[128]]


def test_values_of_a_configuration_are_taken():
    """OmegaConf hands lists over as its own type; a saved configuration names the class by path."""
    node = LazyCall("smalldet.heads.rcnn.CascadeRCNN")(
        conv_dim=8,
        fc_dim=8,
        anchor_sizes=[[16, 24], [32, 48], [64, 96], [128, 192], [256, 384]],
        box_weights=((10, 10, 5, 5), (20, 20, 10, 10)),
        cascade_ious=[0.5, 0.6],
        rpn_post_nms_topk=OmegaConf.create([10, 5]),
        box_in_features=["p3", "p2"],
    )
    settings = instantiate(node)
    head = settings.build(pyramid(8).output_shape())
    assert head.proposal_generator.post_nms_topk == {True: 10, False: 5}
    assert head.proposal_generator.anchor_generator.num_anchors == [6] * 5
    assert head.roi_heads.num_cascade_stages == 2
    assert head.roi_heads.box_in_features == ["p2", "p3"]
    assert type(settings.anchor_sizes[0]) is list


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"anchor_sizes": [[32], [64]]}, r"2 lists, but proposals are made on 5 levels"),
        ({"anchor_sizes": [[8, 16], [32], [64], [128], [256]]}, "same number of sizes"),
        ({"box_in_features": ["p2", "p4"]}, r"strides \[4, 16\]; each must be a power of two"),
        ({"in_features": ["res4"]}, "there are the levels p2, p3, p4, p5, p6"),
        ({"in_features": ["p2"], "box_in_features": ["p3"]}, "there are the levels p2. "),
    ],
)
def test_settings_that_do_not_fit_the_levels_are_refused(values: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        CascadeRCNN(**values).build(pyramid(8).output_shape())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_classes": 0}, "at least one class"),
        ({"cascade_ious": [0.5, 0.6]}, "2 stages and box_weights 3"),
        ({"box_weights": [[10, 5]] * 3}, "give dx, dy, dw, dh a stage"),
        ({"rpn_pre_nms_topk": [100]}, "give two values"),
        ({"num_conv": 0, "num_fc": 0}, "at least one layer"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        CascadeRCNN(**values)


def test_strides_that_are_no_power_of_two_are_refused_for_pooling():
    with pytest.raises(ValueError, match="power of two"):
        CascadeRCNN().build(PatchBackbone({"last_feat": (8, 14)}).output_shape())
