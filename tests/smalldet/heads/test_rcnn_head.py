"""Cascade R-CNN: published numbers, what follows from a backbone, losses, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator.rpn import StandardRPNHead
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from omegaconf import OmegaConf
from torch import Tensor, nn

from smalldet.heads.box_head import ConvFCBoxHead, FullPrecisionPooler
from smalldet.heads.proposal_head import ProposalHead
from smalldet.heads.rcnn import RCNNHead
from smalldet.kernels import roi_align
from toy_detection import (
    QUICK,
    SCORE,
    PatchBackbone,
    golden,
    gradients,
    labelled_image,
    one_map,
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
    rpn = rcnn_head().build(pyramid(16).output_shape()).proposal_generator
    rpn.rpn_head.load_state_dict(state_of(arrays, "sd."))
    features = [arrays[f"feat{level}"] for level in range(5)]
    logits, deltas = rpn.rpn_head(features)
    anchors = rpn.anchor_generator(features)
    for level in range(5):
        assert relative_error(logits[level], arrays[f"logits{level}"]) < 1e-5
        assert relative_error(deltas[level], arrays[f"deltas{level}"]) < 1e-5
        assert relative_error(anchors[level].tensor, arrays[f"anchors{level}"]) < 1e-6


def test_parameter_counts_of_the_baseline():
    with torch.device("meta"):  # shapes alone
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


REGION = ShapeSpec(channels=4, height=7, width=7)


def test_stage_layers_equal_the_published_ones():
    arrays = golden("vim/cascade_box_head.npz")
    layers = {"conv_dims": [16] * 4, "fc_dims": [48]}
    changes = {f"roi_heads.box_heads.0.{name}": dims for name, dims in layers.items()}
    head = rcnn_head(changes).build(pyramid(16).output_shape()).roi_heads
    head.box_head[0].load_state_dict(state_of(arrays, "sd.head."))
    features = head.box_head[0](arrays["x"])
    assert relative_error(features, arrays["fc_out"]) < 1e-5
    proposals = Instances((1000, 1000), proposal_boxes=Boxes(arrays["proposals"]))
    for stage, predictor in enumerate(head.box_predictor):
        predictor.load_state_dict(state_of(arrays, f"sd.predictor{stage}."))
        found = predictor(arrays["fc_out"])
        boxes = predictor.predict_boxes(found, [proposals])[0]
        probabilities = predictor.predict_probs(found, [proposals])[0]
        values = {"scores": found[0], "deltas": found[1], "boxes": boxes, "probs": probabilities}
        for name, value in values.items():
            assert relative_error(value, arrays[f"stage{stage}_{name}"]) < 1e-5, (stage, name)
    transform = head.box_predictor[0].box2box_transform
    deltas = transform.get_deltas(arrays["proposals"], arrays["gt"])
    assert relative_error(deltas, arrays["target_deltas_stage0"]) < 1e-5


def test_recomputation_changes_no_number_and_keeps_fewer_activations():
    kept = ConvFCBoxHead(REGION, conv_dims=[16, 16], fc_dims=[8])
    recomputed = copy.deepcopy(kept)
    recomputed.checkpoint = True
    regions, outputs, numbers = torch.randn(16, 4, 7, 7), [], []
    for head in (kept, recomputed):
        x, sizes = regions.clone().requires_grad_(), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda y, sizes=sizes: (sizes.append(y.numel()), y)[1], lambda y: y
        ):
            output = head(x)
        output.square().sum().backward()
        outputs.append([output, x.grad, *gradients(head).values()])
        numbers.append(sum(sizes))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    assert numbers[1] < numbers[0] / 2


def test_no_regions_are_fine():
    head = ConvFCBoxHead(REGION, conv_dims=[4], fc_dims=[8])
    output = head(torch.zeros(0, 4, 7, 7))
    output.sum().backward()
    assert output.shape == (0, 8)
    assert all(p.grad is not None for p in head.parameters())


POOLER = {"output_size": 7, "sampling_ratio": 0, "pooler_type": "ROIAlignV2"}


def test_boxes_keep_their_place_in_bf16():
    """A small box far from the origin: Detectron2's own pooler would read beside it."""
    settings = {**POOLER, "output_size": 2, "scales": [1 / 4, 1 / 8]}
    ramp = torch.arange(160.0).expand(1, 1, 160, 160).bfloat16()
    features = [ramp, ramp[..., ::2, ::2]]
    boxes = [Boxes(torch.tensor([[561.0, 561.0, 573.0, 573.0]]))]
    ours = FullPrecisionPooler(**settings)(features, boxes)
    exact = ROIPooler(**settings)([x.float() for x in features], boxes)
    torch.testing.assert_close(ours, exact, rtol=1e-6, atol=0)
    assert ours.dtype == torch.float32


@pytest.mark.parametrize("kind", ["ROIAlignV2", "ROIAlign", "ROIPool"])
@pytest.mark.parametrize("levels", [1, 3])
def test_regions_are_those_of_detectron2_s_pooler(kind, levels):
    settings = {**POOLER, "pooler_type": kind, "scales": [1 / 4, 1 / 8, 1 / 16][:levels]}
    x = [torch.randn(2, 8, side, side, requires_grad=True) for side in (64, 32, 16)[:levels]]
    corners = torch.tensor([[3.0, 7, 11, 19], [100, 20, 230, 250], [0, 0, 256, 256]])
    boxes = [Boxes(corners), Boxes(corners[1:] * 0.9)]
    found = []
    for pooler in (FullPrecisionPooler(**settings), ROIPooler(**settings)):
        regions = pooler(x, boxes)
        found.append([regions, *torch.autograd.grad(regions.square().sum(), x)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())


def test_a_pooler_without_its_kernel_is_detectron2_s(monkeypatch):
    settings = {**POOLER, "scales": [1 / 4]}
    x, boxes = [torch.randn(1, 4, 20, 20)], [Boxes(torch.tensor([[5.0, 5, 40, 60]]))]
    monkeypatch.setattr(roi_align.KERNEL, "why_absent", "none here")
    assert torch.equal(FullPrecisionPooler(**settings)(x, boxes), ROIPooler(**settings)(x, boxes))


def test_features_that_do_not_fit_a_pooler_are_named():
    pooler = FullPrecisionPooler(**POOLER, scales=[1 / 4, 1 / 8])
    x, boxes = torch.randn(1, 4, 20, 20), Boxes(torch.zeros(1, 4))
    with pytest.raises(AssertionError, match="num_level_assignments=2"):
        pooler([x], [boxes])
    with pytest.raises(AssertionError, match="batch dim 0 is 1"):
        pooler([x, x], [boxes, boxes])


def test_the_proposal_head_is_detectron2_s_with_other_gradients():
    heads, arguments = [], {"in_channels": 8, "num_anchors": 3, "conv_dims": [-1, -1]}
    for kind in (ProposalHead, StandardRPNHead):
        torch.manual_seed(0)
        heads.append(kind(**arguments))
    ours, theirs = (head.state_dict() for head in heads)
    assert all(torch.equal(ours.pop(name), value) for name, value in theirs.items()) and not ours
    x = [torch.randn(2, 8, side, side, requires_grad=True) for side in (40, 20)]
    found = []
    for head in heads:
        logits, deltas = head(x)
        loss = logits[0][:, 0, 3::9, 4::9].sum() + deltas[1].square().sum()
        found.append([*logits, *deltas, *torch.autograd.grad(loss, [*x, *head.parameters()])])
    for got, want in zip(*found, strict=True):
        bound = 1e-5 * want.abs().max().item()
        torch.testing.assert_close(got, want, rtol=0, atol=bound)


ANCHOR_SIZES = "proposal_generator.anchor_generator.sizes"
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
    halved = {ANCHOR_SIZES: [[16], [32], [64], [128], [256]]}
    for changes, backbone, sizes in [
        ({}, pyramid(), [32, 64, 128, 256, 512]),
        (halved, pyramid(), [16, 32, 64, 128, 256]),
        ({}, one_map(stride=16), [128]),
    ]:
        head = rcnn_head(changes).build(backbone.output_shape())
        assert anchor_sizes(head) == pytest.approx(sizes)


def test_any_argument_of_detectron2_is_reachable():
    changes = {
        ANCHOR_SIZES: [[16, 24], [32, 48], [64, 96], [128, 192], [256, 384]],
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
        ({ANCHOR_SIZES: [[32], [64]]}, "2 lists .* 5 levels"),
        ({ANCHOR_SIZES: [[8, 16], [32], [64], [128], [256]]}, "same number of sizes"),
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
