"""Likeness of boxes, and losses made of it.

Boxes are xyxy_abs in the last axis; the other axes broadcast, so ``box_iou(a[:, None], b[None])``
is the matrix of all pairs. Flat boxes have area 0, and no input that is finite gives a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

EPS = 1e-16  # that of YOLOX; keeps 0 / 0 of two flat boxes at 0
LEAST_SIDE = 1e-3  # px; at 0 the slope of a shape is infinite
LEAST_DISTANCE = 1e-6  # px; at 0 that of a distance is
NWD_SIZE = 12.8  # px, the mean size of objects in AI-TOD, which NWD was published with
KINDS: tuple[str, ...] = ("iou", "giou", "diou", "ciou", "nwd")
ASSIGNMENT_METRICS = ("iou", "nwd")
BOX_FORMATS = ("xyxy", "cxcywh")
REDUCTIONS = ("none", "mean", "sum")


def box_area(boxes: Tensor) -> Tensor:
    """Areas (...) of ``boxes`` (..., 4) in px²; 0 where a side is not positive."""
    left, top, right, bottom = boxes.unbind(-1)
    return (right - left).clamp(min=0) * (bottom - top).clamp(min=0)


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (...) in [0, 1] of boxes (..., 4) with ``others`` (..., 4)."""
    intersection, union = _intersection_and_union(boxes, others)
    return intersection / (union + EPS)


def generalized_box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU - (hull - union) / hull, in (-1, 1], of boxes (..., 4) with ``others`` (..., 4).

    Rezatofighi et al., Generalized Intersection over Union, 2019, arXiv 1902.09630, algorithm 1;
    the hull is the smallest box around both.
    """
    intersection, union = _intersection_and_union(boxes, others)
    hull = _hull_sides(boxes, others).prod(-1)
    return intersection / (union + EPS) - (hull - union) / (hull + EPS)


def distance_box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU - (distance of centres / diagonal of the hull)², in (-1, 1], of boxes (..., 4).

    Zheng et al., Distance-IoU Loss, 2019, arXiv 1911.08287, equation 7.
    """
    diagonal = _hull_sides(boxes, others).square().sum(-1)
    distance = (_centres(boxes) - _centres(others)).square().sum(-1)
    return box_iou(boxes, others) - distance / (diagonal + EPS)


def complete_box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """DIoU - alpha v of boxes (..., 4); v compares their shapes, 0 if they are alike, below 1.

    Zheng et al., Distance-IoU Loss, 2019, arXiv 1911.08287, equations 8 to 11; alpha, v / (1 -
    IoU + v), has no gradient. Sides count as at least 0.001 px.
    """
    angles = [torch.atan2(*_sides(x).clamp(min=LEAST_SIDE).unbind(-1)) for x in (boxes, others)]
    shape = 4 / math.pi**2 * (angles[0] - angles[1]).square()
    with torch.no_grad():
        alpha = shape / (1 - box_iou(boxes, others) + shape + EPS)
    return distance_box_iou(boxes, others) - alpha * shape


def normalized_wasserstein(boxes: Tensor, others: Tensor, size: float = NWD_SIZE) -> Tensor:
    """exp(-W / size), in [0, 1], of boxes (..., 4); unlike IoU it hardly jumps for tiny ones.

    Wang et al., A Normalized Gaussian Wasserstein Distance for Tiny Object Detection, 2021, arXiv
    2110.13389, equations 4 to 8. W is the 2nd Wasserstein distance of two normal distributions
    with the centres of the boxes as means and half their sides as standard deviations.

    Args:
        boxes: (..., 4).
        others: (..., 4).
        size: px, the published constant C; about the mean size of the objects.
    """
    apart = (_centres(boxes) - _centres(others)).square().sum(-1)
    apart = apart + ((_sides(boxes) - _sides(others)) / 2).square().sum(-1)
    return (-apart.clamp(min=LEAST_DISTANCE**2).sqrt() / size).exp()


def likeness_of(metric: str, nwd_size: float = NWD_SIZE) -> Callable[[Tensor, Tensor], Tensor]:
    """What boxes are assigned by: ``box_iou`` ("iou"), or ``normalized_wasserstein`` ("nwd").

    Raises:
        ValueError: an unknown metric, or a size that is not above 0.
    """
    check_choice("assignment_metric", metric, ASSIGNMENT_METRICS)
    check_nwd_size(nwd_size)
    return box_iou if metric == "iou" else partial(normalized_wasserstein, size=nwd_size)


def iou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - IoU² (...): the loss of YOLOX (Ge et al., 2021, arXiv 2107.08430, its code)."""
    return 1 - box_iou(boxes, targets).square()


def giou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - GIoU (...), in [0, 2); unlike ``iou_loss`` it pulls boxes that do not touch together."""
    return 1 - generalized_box_iou(boxes, targets)


def diou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - DIoU (...), in [0, 2)."""
    return 1 - distance_box_iou(boxes, targets)


def ciou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - CIoU (...), in [0, 3)."""
    return 1 - complete_box_iou(boxes, targets)


def nwd_loss(boxes: Tensor, targets: Tensor, size: float = NWD_SIZE) -> Tensor:
    """1 - NWD (...), in [0, 1]; ``size`` in px as in ``normalized_wasserstein``."""
    return 1 - normalized_wasserstein(boxes, targets, size)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """``losses`` themselves, their mean (0 if there are none) or their sum."""
    if reduction == "none":
        return losses
    return losses.sum() / (max(losses.numel(), 1) if reduction == "mean" else 1)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """ValueError unless ``value``, given for ``name``, is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}.")


class IOULoss(nn.Module):
    """Loss of N predicted boxes against their targets.

    Args:
        kind: "iou" (1 - IoU²), or 1 minus "giou", "diou", "ciou" or "nwd".
        reduction: "none", "mean" or "sum".
        box_format: of both arguments of :meth:`forward`, "xyxy" or "cxcywh", both absolute.
        nwd_size: px; see ``normalized_wasserstein``.

    Raises:
        ValueError: an unknown kind, reduction or format, or a size that is not above 0.
    """

    def __init__(
        self,
        kind: str = "iou",
        reduction: str = "mean",
        box_format: str = "xyxy",
        nwd_size: float = NWD_SIZE,
    ) -> None:
        super().__init__()
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("box_format", box_format, BOX_FORMATS)
        check_nwd_size(nwd_size)
        losses = (iou_loss, giou_loss, diou_loss, ciou_loss, partial(nwd_loss, size=nwd_size))
        self.loss = dict(zip(KINDS, losses, strict=True))[kind]
        self.reduction = reduction
        self.box_format = box_format

    def forward(self, boxes: Tensor, targets: Tensor) -> Tensor:
        """(N, 4) and (N, 4) in ``box_format`` -> (N,), or a scalar if reduced.

        Raises:
            ValueError: the targets are of another format, as far as their sides tell.
        """
        targets = as_xyxy(targets, self.box_format)
        check_sides(targets, self.box_format)
        return reduced(self.loss(as_xyxy(boxes, self.box_format), targets), self.reduction)


def as_xyxy(boxes: Tensor, box_format: str) -> Tensor:
    """``boxes`` (..., 4), "xyxy" or "cxcywh", as xyxy."""
    return boxes if box_format == "xyxy" else box_convert(boxes, box_format, "xyxy")


def check_sides(targets: Tensor, box_format: str) -> None:
    """ValueError if one of ``targets`` (N, 4) xyxy, which were ``box_format``, has a negative side.

    Small boxes given as cxcywh have such as xyxy. The other way round nothing is to be seen, unless
    coordinates are negative.
    """
    wrong = (_sides(targets) < 0).any(-1).nonzero()[:, 0]
    if len(wrong) == 0:
        return
    other = BOX_FORMATS[1 - BOX_FORMATS.index(box_format)]
    first = box_convert(targets[wrong[0]], "xyxy", box_format).tolist()
    raise ValueError(
        f"The target box {first}, read as {box_format}, has a negative side ({len(wrong)} of "
        f"{len(targets)} targets have one). Give boxes as {box_format}, or say by "
        f"box_format={other!r} that they are {other}."
    )


def check_nwd_size(size: float) -> None:
    """ValueError unless ``size`` is above 0."""
    if not size > 0:
        raise ValueError(f"nwd_size is {size}; give the mean size of the objects in px, above 0.")


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _sides(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]


def _hull_sides(boxes: Tensor, others: Tensor) -> Tensor:
    """(..., 2) width and height of the smallest box around both."""
    top_left = torch.minimum(boxes[..., :2], others[..., :2])
    bottom_right = torch.maximum(boxes[..., 2:], others[..., 2:])
    return (bottom_right - top_left).clamp(min=0)


def _intersection_and_union(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    # Coordinate by coordinate: PyTorch is slow on a last axis of length 2.
    left, top, right, bottom = boxes.unbind(-1)
    other_left, other_top, other_right, other_bottom = others.unbind(-1)
    width = torch.minimum(right, other_right) - torch.maximum(left, other_left)
    height = torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)
    intersection = width.clamp(min=0) * height.clamp(min=0)
    return intersection, box_area(boxes) + box_area(others) - intersection
