"""Box losses and anchors of the R-CNN: formulas, Detectron2's own numbers, tiny and flat boxes."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from box_formulas import by_the_formula
from smalldet.heads.rcnn_boxes import SmallObjectPredictor, SmallObjectRPN, box_loss_weight
from smalldet.losses.iou import KINDS, box_iou
from toy_detection import gradients, labelled_image, pyramid, rcnn_head

DELTA_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
HERE = "smalldet.heads.rcnn_boxes"
RPNBatch = tuple[list[Boxes], list[Tensor], list[Tensor], list[Tensor]]


def predictor(kind: str, classes: int = 1, cls=SmallObjectPredictor, **more: Any):
    return cls(
        ShapeSpec(channels=4),
        box2box_transform=Box2BoxTransform(weights=DELTA_WEIGHTS),
        num_classes=classes,
        cls_agnostic_bbox_reg=classes == 1,
        box_reg_loss_type=kind,
        **more,
    )


def proposal_network(kind: str = "smooth_l1", cls=SmallObjectRPN, **more: Any):
    """One that samples all anchors that are positive or negative."""
    settings = dict(
        in_features=[],
        head=nn.Identity(),
        anchor_generator=nn.Identity(),
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=10_000,
        positive_fraction=0.5,
        pre_nms_topk=(10, 10),
        post_nms_topk=(10, 10),
        box_reg_loss_type=kind,
    )
    return cls(**{**settings, **more})


def some_boxes(count: int, seed: int, side: float = 30.0) -> Tensor:
    corner, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([corner * 60, corner * 60 + 2 + size * side], dim=1)


def mean_by_formula(kind: str, boxes: Tensor, targets: Tensor, count: int, size: float) -> float:
    pairs = zip(boxes.tolist(), targets.tolist(), strict=True)
    return sum(by_the_formula(kind, *pair, size=size) for pair in pairs) / count


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_regions_is_the_formula_s(kind: str, classes: int):
    head = predictor(kind, classes, nwd_size=20.0)
    proposals, targets = some_boxes(6, seed=0), some_boxes(6, seed=1)
    labels = torch.tensor([0, classes, classes - 1, -1, 0, classes])  # background, and ignored
    deltas = torch.randn(6, 4 * classes, generator=torch.Generator().manual_seed(2))
    found = head.box_reg_loss(proposals, targets, deltas, labels)
    with_object = [0, 2, 4]
    own = torch.stack([deltas[i, 4 * labels[i] :][:4] for i in with_object])
    boxes = head.box2box_transform.apply_deltas(own, proposals[with_object])
    expected = mean_by_formula(kind, boxes, targets[with_object], 6, size=20.0)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def rpn_batch(positives: bool = True) -> RPNBatch:
    """Anchors, labels, deltas and objects of two images and levels of 4 and 2 anchors."""
    generator = torch.Generator().manual_seed(3)
    anchors = some_boxes(6, seed=4)
    labels = [torch.tensor([0, 1, -1, 0, 1, 0]), torch.tensor([1, 0, 0, -1, -1, 0])]
    if not positives:
        labels = [one.clamp(max=0) for one in labels]
    deltas = [torch.randn(2, n, 4, generator=generator).mul_(0.3) for n in (4, 2)]
    objects = [some_boxes(6, seed=seed) for seed in (5, 6)]
    return [Boxes(anchors[:4]), Boxes(anchors[4:])], labels, deltas, objects


def rpn_losses(network: RPN, batch: RPNBatch) -> dict[str, Tensor]:
    anchors, *others = batch
    logits = [torch.zeros(2, len(level)) for level in anchors]
    with EventStorage():
        return network.losses(anchors, logits, *others)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_anchors_is_the_formula_s(kind: str):
    network = proposal_network(kind, nwd_size=20.0, loss_weight={"loss_rpn_loc": 2.0})
    anchors, _, deltas, objects = batch = rpn_batch()
    places = [(0, 1), (0, 4), (1, 0)]
    own = torch.stack([torch.cat(deltas, 1)[place] for place in places])
    boxes = network.box2box_transform.apply_deltas(
        own, Boxes.cat(anchors).tensor[[place for _, place in places]]
    )
    targets = torch.stack([objects[image][place] for image, place in places])
    expected = 2 * mean_by_formula(kind, boxes, targets, 2 * 10_000, size=20.0)
    assert float(rpn_losses(network, batch)["loss_rpn_loc"]) == pytest.approx(expected, rel=1e-4)


def test_smooth_l1_is_detectron2_s_to_the_bit_and_giou_to_rounding():
    proposals, targets = some_boxes(6, seed=0), some_boxes(6, seed=1)
    labels = torch.tensor([0, 1, 0, 0, 1, 0])
    deltas = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    regions, batch = (proposals, targets, deltas, labels), rpn_batch()
    for kind, tolerance in (("smooth_l1", 0.0), ("giou", 1e-5)):
        ours, theirs = (
            predictor(kind, cls=cls).box_reg_loss(*regions)
            for cls in (SmallObjectPredictor, FastRCNNOutputLayers)
        )
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=0.0)
        ours, theirs = (
            rpn_losses(proposal_network(kind, cls=cls), batch) for cls in (SmallObjectRPN, RPN)
        )
        assert ours.keys() == theirs.keys()
        for name, loss in ours.items():
            torch.testing.assert_close(loss, theirs[name], rtol=tolerance, atol=0.0)


def small_object_head(kind: str, **rpn: Any):
    """A quick cascade with these classes in the place of Detectron2's."""
    changes: dict[str, Any] = {"proposal_generator._target_": f"{HERE}.SmallObjectRPN"}
    rpn |= {"box_reg_loss_type": kind}
    changes |= {f"proposal_generator.{name}": value for name, value in rpn.items()}
    for stage, weight in enumerate((10, 20, 30)):
        key = f"roi_heads.box_predictors.{stage}"
        changes[f"{key}._target_"] = f"{HERE}.SmallObjectPredictor"
        changes[f"{key}.box_reg_loss_type"] = kind
        changes[f"{key}.loss_weight"] = box_loss_weight(kind, weight)
    return rcnn_head(changes).build(pyramid().output_shape())


def losses_of(head, boxes: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(0)
    features = pyramid()(torch.randn(2, 3, 64, 128))
    images = [labelled_image(h, w, boxes, seed=h) for h, w in ((64, 96), (60, 80))]
    with EventStorage():
        return head.losses(features, [image["instances"] for image in images])


def test_a_cascade_of_these_classes_is_detectron2_s_until_a_value_moves():
    torch.manual_seed(0)
    plain = rcnn_head().build(pyramid().output_shape())
    ours = small_object_head("smooth_l1")
    assert list(ours.state_dict()) == list(plain.state_dict())
    ours.load_state_dict(plain.state_dict())
    expected, found = losses_of(plain), losses_of(ours)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("boxes", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_reach_every_parameter_and_are_none_without_objects(kind: str, boxes: int):
    head = small_object_head(kind, assignment_metric="nwd", nwd_size=20.0)
    losses = losses_of(head, boxes)
    torch.stack(list(losses.values())).sum().backward()
    assert all(g is not None and g.isfinite().all() for g in gradients(head).values())
    of_boxes = [loss for name, loss in losses.items() if "loc" in name or "box_reg" in name]
    assert len(of_boxes) == 4
    assert all(loss == 0 for loss in of_boxes) if not boxes else losses["loss_rpn_loc"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_flat_and_missing_boxes_are_finite(kind: str):
    flat = torch.tensor([[10.0, 10, 10, 20], [10, 10, 10, 10], [30, 30, 34, 30]])
    proposals = torch.tensor([[8.0, 8, 12, 20], [8, 8, 12, 12], [30, 28, 34, 32]])
    labels = torch.zeros(3, dtype=torch.long)
    for shrink in (0.0, -600.0):  # sides of exp(-600 / 5): none
        deltas = torch.full((3, 4), shrink, requires_grad=True)
        predictor(kind).box_reg_loss(proposals, flat, deltas, labels).backward()
        assert deltas.grad is not None and deltas.grad.isfinite().all()
    for count, label in ((3, 1), (0, 0)):  # background; no regions
        deltas = torch.zeros(count, 4, requires_grad=True)
        loss = predictor(kind).box_reg_loss(
            proposals[:count], flat[:count], deltas, torch.full((count,), label)
        )
        loss.backward()
        assert loss == 0 and deltas.grad is not None
    _, _, deltas, _ = batch = rpn_batch(positives=False)
    _ = [level.requires_grad_() for level in deltas]
    loss = rpn_losses(proposal_network(kind), batch)["loss_rpn_loc"]
    loss.backward()
    assert loss == 0 and not torch.cat([cast(Tensor, level.grad) for level in deltas], 1).any()


def objects_of(*boxes: tuple[float, float, float, float]) -> Instances:
    return Instances((64, 96), gt_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)))


def grid_of_anchors(side: float = 16.0, stride: int = 4) -> Boxes:
    y, x = torch.meshgrid(torch.arange(0, 64.0, stride), torch.arange(0, 96.0, stride))
    centres = torch.stack([x, y], dim=-1).reshape(-1, 2)
    return Boxes(torch.cat([centres - side / 2, centres + side / 2], dim=1))


def labels_by_formula(anchors: Tensor, objects: Tensor, size: float) -> tuple[list[int], list]:
    """Labels, and the object of each positive, by the thresholds 0.3 and 0.7 and the best rule."""
    pairs = [
        [1 - by_the_formula("nwd", anchor, box, size) for box in objects.tolist()]
        for anchor in anchors.tolist()
    ]
    best = [max(column) for column in zip(*pairs, strict=True)]
    labels, chosen = [], []
    for row in pairs:
        is_best = any(value >= top - 1e-9 for value, top in zip(row, best, strict=True))
        label = 0 if max(row) < 0.3 else 1 if max(row) >= 0.7 else -1
        labels.append(1 if is_best else label)
        chosen.append(row.index(max(row)))
    return labels, chosen


def test_anchors_are_labelled_as_the_formula_says():
    fine, coarse = some_boxes(30, seed=7, side=20.0), some_boxes(20, seed=8, side=50.0)
    objects = some_boxes(5, seed=9, side=12.0)
    network = proposal_network(assignment_metric="nwd", nwd_size=10.0)
    instances = [objects_of(*objects.tolist()), objects_of()]
    labels, boxes = network.label_and_sample_anchors([Boxes(fine), Boxes(coarse)], instances)
    expected, chosen = labels_by_formula(torch.cat([fine, coarse]), objects, size=10.0)
    assert labels[0].tolist() == expected and {-1, 0, 1} == set(expected)
    positive = labels[0] == 1
    assert torch.equal(boxes[0][positive], objects[torch.tensor(chosen)[positive]])
    assert not labels[1].any() and boxes[1].shape == (50, 4)  # an image without objects


@pytest.mark.parametrize("border", [-1.0, 0.0])
def test_by_iou_the_same_code_labels_as_detectron2_s(border: float):
    anchors = grid_of_anchors()
    settings: dict[str, Any] = {"anchor_boundary_thresh": border, "batch_size_per_image": 40}
    instances = [objects_of(*some_boxes(4, seed=1).tolist()), objects_of()]
    ours = proposal_network(assignment_metric="nwd", **settings)
    ours.likeness = box_iou
    found = []
    for network in (ours, proposal_network(**settings), proposal_network(cls=RPN, **settings)):
        torch.manual_seed(0)
        found.append(network.label_and_sample_anchors([anchors], instances))
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_a_small_object_without_an_anchor_by_iou_gets_some_by_nwd():
    anchors = [grid_of_anchors(side=16.0)]
    tiny = [objects_of((41.0, 31.0, 47.0, 37.0))]  # 6 px: IoU at most 36 / 256
    counts = {}
    for metric in ("iou", "nwd"):
        network = proposal_network(assignment_metric=metric, nwd_size=32.0)
        network.anchor_matcher.allow_low_quality_matches = False
        (labels,), _ = network.label_and_sample_anchors(anchors, tiny)
        counts[metric] = int((labels == 1).sum())
    assert counts["iou"] == 0 and 3 < counts["nwd"] < 100


def test_an_object_like_no_anchor_makes_no_anchor_positive():
    """Its NWD to each is 0 in floating point; Detectron2's matcher would take all for its best."""
    network = proposal_network(assignment_metric="nwd", nwd_size=0.5)
    far = objects_of((900.0, 900.0, 990.0, 990.0))
    near = (40.0, 32.0, 55.0, 47.0)
    for instances, positives in ((far, 0), (objects_of(*far.gt_boxes.tensor.tolist(), near), 1)):
        (labels,), (boxes,) = network.label_and_sample_anchors([grid_of_anchors()], [instances])
        assert int((labels == 1).sum()) == positives
        assert all(tuple(box) == near for box in boxes[labels == 1].tolist())


def test_what_is_refused():
    for make, wrong, facts in [
        (predictor, {"kind": "siou"}, "box_reg_loss_type='siou' .* smooth_l1, iou, giou"),
        (proposal_network, {"kind": "l2"}, "box_reg_loss_type='l2'"),
        (proposal_network, {"assignment_metric": "giou"}, "assignment_metric='giou' .* iou, nwd"),
        (proposal_network, {"nwd_size": 0.0}, "nwd_size is 0.0"),
        (predictor, {"kind": "nwd", "nwd_size": -1.0}, "nwd_size is -1.0"),
    ]:
        with pytest.raises(ValueError, match=facts):
            make(**wrong)


def test_weights_that_keep_the_share_of_the_box_loss():
    """What ``box_loss_weight`` says of losses as large as those of matched boxes."""
    targets = some_boxes(4000, seed=1).sub_(30)
    moved = torch.randn(4000, 4, generator=torch.Generator().manual_seed(2)) * 0.15
    labels = torch.zeros(4000, dtype=torch.long)
    for weight, least in ((10.0, 0.5), (20.0, 0.6), (30.0, 0.7)):
        transform = Box2BoxTransform(weights=(weight, weight, weight / 2, weight / 2))
        boxes = Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)).apply_deltas(moved, targets)
        near = box_iou(boxes, targets) >= least
        values = []
        for kind in ("smooth_l1", "giou"):
            head = predictor(kind)
            head.box2box_transform = transform
            deltas = torch.zeros(int(near.sum()), 4)
            loss = head.box_reg_loss(boxes[near], targets[near], deltas, labels[near])
            values.append(float(loss) * box_loss_weight(kind, weight)["loss_box_reg"])
        assert 0.7 < values[0] / values[1] < 1.1
