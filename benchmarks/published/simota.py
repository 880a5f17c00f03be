"""SimOTA and the YOLOX losses as published: frame by frame, object by object.

Ge et al., YOLOX: Exceeding YOLO Series in 2021, 2021, arXiv 2107.08430, and its later code. Shape
shorthand: B frames, M objects of one frame, A cells, K candidates, P positive cells. Boxes are
cxcywh in px.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Labels(NamedTuple):
    """Of one frame."""

    boxes: Tensor  # (M, 4)
    classes: Tensor  # (M,)


class Found(NamedTuple):
    """Of one frame."""

    positive: Tensor  # (A,) bool
    objects: Tensor  # (P,)
    ious: Tensor  # (P,)


@torch.no_grad()
def assign(
    labels: Labels, boxes: Tensor, logits: Tensor, centres: Tensor, strides: Tensor
) -> Found:
    """Positive cells of one frame with objects.

    Args:
        labels: of the frame.
        boxes: (A, 4) as predicted.
        logits: (A, 1 + classes), objectness first.
        centres: (A, 2) px.
        strides: (A,) px.
    """
    near = ((labels.boxes[:, None, :2] - centres).abs() < 1.5 * strides[:, None]).all(-1)
    positive = near.any(0)
    near, logits = near[:, positive], logits[positive]
    ious = pair_iou(labels.boxes, boxes[positive])
    p = (logits[:, 1:].sigmoid() * logits[:, :1].sigmoid()).sqrt()
    wanted = F.one_hot(labels.classes, p.shape[1]).float()
    pairs = (len(wanted), *p.shape)
    mismatch = F.binary_cross_entropy(
        p.expand(pairs), wanted[:, None].expand(pairs), reduction="none"
    ).sum(-1)
    costs = mismatch - 3 * (ious + 1e-8).log() + 1e6 * ~near
    numbers = ious.topk(min(10, ious.shape[1]), dim=1).values.sum(1).int().clamp(min=1)
    taken = torch.zeros_like(costs)
    for index, number in enumerate(numbers.tolist()):
        taken[index, costs[index].topk(number, largest=False).indices] = 1
    several = taken.sum(0) > 1
    cheapest = costs[:, several].argmin(0)
    taken[:, several] = F.one_hot(cheapest, len(costs)).float().T
    has_object = taken.sum(0) > 0
    positive[positive.clone()] = has_object
    taken = taken[:, has_object]
    return Found(positive, taken.argmax(0), (taken * ious[:, has_object]).sum(0))


def losses(
    outputs: Tensor, places: Tensor, strides: Tensor, frames: Sequence[Labels]
) -> dict[str, Tensor]:
    """``iou_loss`` (times 5), ``conf_loss`` and ``cls_loss``, over all positive cells.

    Args:
        outputs: (B, A, 5 + classes) as the network gives them.
        places: (A, 2) column and row of each cell.
        strides: (A,) px.
        frames: labels of the B frames, each with objects.
    """
    strides = strides[:, None]
    middles, sizes = (outputs[..., :2] + places) * strides, outputs[..., 2:4].exp() * strides
    boxes, centres = torch.cat([middles, sizes], dim=-1), (places + 0.5) * strides
    found = [
        assign(labels, boxes[b], outputs[b, :, 4:], centres, strides[:, 0])
        for b, labels in enumerate(frames)
    ]
    positive = torch.cat([one.positive for one in found])
    goals = torch.cat([x.boxes[one.objects] for x, one in zip(frames, found, strict=True)])
    sureness = torch.cat(
        [
            F.one_hot(x.classes[one.objects], outputs.shape[-1] - 5) * one.ious[:, None]
            for x, one in zip(frames, found, strict=True)
        ]
    )
    flat, number = outputs.flatten(0, 1), max(int(positive.sum()), 1)
    ious = pair_iou(goals[:, None], boxes.flatten(0, 1)[positive][:, None])[:, 0, 0]
    bce = F.binary_cross_entropy_with_logits
    return {
        "iou_loss": 5 * (1 - ious**2).sum() / number,
        "conf_loss": bce(flat[:, 4], positive.float(), reduction="none").sum() / number,
        "cls_loss": bce(flat[positive][:, 5:], sureness, reduction="none").sum() / number,
    }


def pair_iou(one: Tensor, other: Tensor) -> Tensor:
    """(..., M, K) of boxes (..., M, 4) and (..., K, 4)."""
    one, other = one[..., :, None, :], other[..., None, :, :]
    low = torch.max(one[..., :2] - one[..., 2:] / 2, other[..., :2] - other[..., 2:] / 2)
    high = torch.min(one[..., :2] + one[..., 2:] / 2, other[..., :2] + other[..., 2:] / 2)
    shared = (high - low).prod(-1) * (low < high).all(-1)
    return shared / (one[..., 2:].prod(-1) + other[..., 2:].prod(-1) - shared + 1e-16)
