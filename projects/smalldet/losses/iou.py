"""Overlap of boxes, and losses made of it.

Boxes are xyxy_abs in the last axis; the other axes broadcast, so ``box_iou(a[:, None], b[None])``
is the matrix of all pairs. Flat boxes have area 0, and no input that is finite gives a NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-16  # that of YOLOX; keeps 0 / 0 of two flat boxes at 0
KINDS = ("iou", "giou")
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
    top_left = torch.minimum(boxes[..., :2], others[..., :2])
    bottom_right = torch.maximum(boxes[..., 2:], others[..., 2:])
    hull = (bottom_right - top_left).clamp(min=0).prod(-1)
    return intersection / (union + EPS) - (hull - union) / (hull + EPS)


def iou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - IoU² (...): the loss of YOLOX (Ge et al., 2021, arXiv 2107.08430, its code)."""
    return 1 - box_iou(boxes, targets).square()


def giou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - GIoU (...), in [0, 2); unlike ``iou_loss`` it pulls boxes that do not touch together."""
    return 1 - generalized_box_iou(boxes, targets)


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
        kind: "iou" (1 - IoU²) or "giou" (1 - GIoU).
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: an unknown kind or reduction.
    """

    def __init__(self, kind: str = "iou", reduction: str = "mean") -> None:
        super().__init__()
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        self.kind = kind
        self.reduction = reduction

    def forward(self, boxes: Tensor, targets: Tensor) -> Tensor:
        """(N, 4) and (N, 4) xyxy_abs -> (N,), or a scalar if reduced."""
        losses = (iou_loss if self.kind == "iou" else giou_loss)(boxes, targets)
        return reduced(losses, self.reduction)


def _intersection_and_union(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    # Coordinate by coordinate: PyTorch is slow on a last axis of length 2.
    left, top, right, bottom = boxes.unbind(-1)
    other_left, other_top, other_right, other_bottom = others.unbind(-1)
    width = torch.minimum(right, other_right) - torch.maximum(left, other_left)
    height = torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)
    intersection = width.clamp(min=0) * height.clamp(min=0)
    return intersection, box_area(boxes) + box_area(others) - intersection
