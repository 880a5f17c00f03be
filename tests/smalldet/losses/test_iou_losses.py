"""IoU and GIoU: limits, symmetry, hostile boxes, and torchvision as the oracle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import ops

from smalldet.losses.iou import IOULoss, box_area, box_iou, generalized_box_iou, giou_loss, iou_loss

number = st.floats(-1e4, 1e4, width=32)
box = st.tuples(number, number, number, number)


def some_boxes(count: int, seed: int = 0) -> torch.Tensor:
    corner, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed)) * 50
    return torch.cat([corner, corner + size + 0.5], dim=1)


def test_all_pairs_equal_torchvision():
    a, b = some_boxes(7), some_boxes(5, seed=1)
    torch.testing.assert_close(box_iou(a[:, None], b), ops.box_iou(a, b))
    expected = ops.generalized_box_iou(a, b)
    torch.testing.assert_close(generalized_box_iou(a[:, None], b), expected)
    torch.testing.assert_close(box_area(a), ops.box_area(a))


@given(box, box)
def test_bounds_and_symmetry_with_any_corners(a: tuple, b: tuple):
    a, b = torch.tensor(a), torch.tensor(b)
    iou, giou = box_iou(a, b), generalized_box_iou(a, b)
    assert 0 <= iou <= 1.001 and -1.001 <= giou <= 1.001
    assert iou == box_iou(b, a) and giou == generalized_box_iou(b, a)


def test_by_hand():
    a, b = torch.tensor([0.0, 0, 4, 4]), torch.tensor([2.0, 0, 6, 4])
    assert box_iou(a, b) == pytest.approx(8 / 24)
    assert iou_loss(a, b) == pytest.approx(1 - (8 / 24) ** 2)
    far = torch.tensor([8.0, 0, 12, 4])
    assert generalized_box_iou(a, far) == pytest.approx(-(48 - 32) / 48)
    a.requires_grad_()  # only GIoU pulls boxes that do not touch
    assert not torch.autograd.grad(iou_loss(a, far), a)[0].any()
    assert torch.autograd.grad(giou_loss(a, far), a)[0][2] < 0


def test_a_perfect_box_has_no_loss_and_a_distant_one_all_of_it():
    boxes = some_boxes(6)
    for loss in (iou_loss, giou_loss):
        torch.testing.assert_close(loss(boxes, boxes), torch.zeros(6))
    assert torch.equal(iou_loss(boxes, boxes + 1000), torch.ones(6))
    assert (giou_loss(boxes, boxes + 1e6) > 1.9).all()


@pytest.mark.parametrize("loss", [iou_loss, giou_loss])
@pytest.mark.parametrize(
    "target", [[5.0, 5, 6, 6], [5.0, 5, 5, 5], [7.0, 7, 3, 3], [0.0, 0, 1e9, 1e9]]
)
@pytest.mark.parametrize("side", [0.0, 1e-6, 1.0, 1e9])
def test_gradients_are_finite(loss, target: list[float], side: float):
    boxes = torch.tensor([[5.2, 5.2, 5.2 + side, 5.2 + side]], requires_grad=True)
    value = loss(boxes, torch.tensor([target]))
    value.sum().backward()
    assert value.isfinite().all() and boxes.grad.isfinite().all()


def test_module_and_reductions():
    a, b = some_boxes(4), some_boxes(4, seed=2)
    each = IOULoss("giou", "none")(a, b)
    assert torch.equal(each, giou_loss(a, b))
    torch.testing.assert_close(IOULoss("giou", "mean")(a, b), each.mean())
    torch.testing.assert_close(IOULoss("iou", "sum")(a, b), iou_loss(a, b).sum())
    assert IOULoss()(a[:0], b[:0]) == 0
    with pytest.raises(ValueError, match=r"'ciou' is unknown; choose one of iou, giou"):
        IOULoss("ciou")
    with pytest.raises(ValueError, match=r"reduction='avg' is unknown"):
        IOULoss(reduction="avg")
