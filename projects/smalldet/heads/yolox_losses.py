"""Losses of the YOLOX head, as sums over the positive cells, with the counts to divide them by.

Ge et al., YOLOX, 2021, arXiv 2107.08430, and its code. Shape shorthand: B frames, A cells,
C classes, M objects of one frame, P positive cells over all frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from detectron2.structures import Instances
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from smalldet.heads.simota import Assignment, Predictions, simota
from smalldet.heads.yolox_cells import Cells, decode_boxes, encode_boxes, to_centres, to_corners
from smalldet.losses.iou import box_area, iou_loss

IOU_WEIGHT = 5.0
# What is counted, in this order; "unmatched" are objects that the published rule gives no cell.
COUNTS = ("positives", "objects", "unmatched_small", "unmatched_medium", "unmatched_large")


@dataclass(frozen=True)
class LossSums:
    """Losses of some frames before their division by a number of positive cells.

    Attributes:
        sums: scalars by name.
        counts: (5,) int64, named by ``COUNTS``.
    """

    sums: dict[str, Tensor]
    counts: Tensor

    def divided(self) -> dict[str, Tensor]:
        """The published losses: over the positive cells of these frames, or 1 without any."""
        return {name: value / self.counts[0].clamp(min=1) for name, value in self.sums.items()}


@dataclass(frozen=True)
class Matches:
    """The positive cells of B frames, one row each.

    Attributes:
        cells: (P,) index into the A cells.
        flat: (P,) index into the B · A cells of all frames.
        boxes: (P, 4) xyxy of the objects.
        classes: (P,) of the objects.
        ious: (P,) of the predicted boxes with the objects'.
    """

    cells: Tensor
    flat: Tensor
    boxes: Tensor
    classes: Tensor
    ious: Tensor


def assign(
    outputs: Tensor, cells: Cells, instances: Sequence[Instances], rescue_unmatched: bool
) -> list[Assignment]:
    """SimOTA's choice for each of B frames.

    Args:
        outputs: (B, A, 5 + C) float32, as the network gives them.
        cells: the A cells.
        instances: B frames with ``gt_boxes`` and ``gt_classes``.
        rescue_unmatched: see ``simota``.
    """
    outputs = outputs.detach()
    boxes = to_corners(decode_boxes(outputs[..., :4], cells))
    return [
        simota(
            labels.gt_boxes.tensor.float(),
            labels.gt_classes,
            Predictions(boxes[frame], outputs[frame, :, 4], outputs[frame, :, 5:]),
            cells,
            rescue_unmatched,
        )
        for frame, labels in enumerate(instances)
    ]


def gather(
    assignments: Sequence[Assignment], instances: Sequence[Instances], num_cells: int
) -> Matches:
    """The positive cells of all frames (at least one) with their objects, in one table."""
    pairs = list(zip(assignments, instances, strict=True))
    return Matches(
        cells=torch.cat([found.cells for found in assignments]),
        flat=torch.cat([found.cells + i * num_cells for i, found in enumerate(assignments)]),
        boxes=torch.cat([x.gt_boxes.tensor[found.objects] for found, x in pairs]).float(),
        classes=torch.cat([x.gt_classes[found.objects] for found, x in pairs]).long(),
        ious=torch.cat([found.ious for found in assignments]),
    )


def summed_losses(
    outputs: Tensor,
    cells: Cells,
    matches: Matches,
    size_weights: Callable[[Tensor], Tensor] | None = None,
    use_l1: bool = False,
) -> dict[str, Tensor]:
    """Sums by name: ``loss_iou`` (times 5), ``loss_obj``, ``loss_cls``, and ``loss_l1`` if used.

    Args:
        outputs: (B, A, 5 + C) float32, as the network gives them.
        cells: the A cells.
        matches: their positive ones.
        size_weights: from areas (P,) in px² to the weights (P,) of the IoU terms; None: all 1.
        use_l1: add the distance of the raw box outputs to those of a perfect box.
    """
    flat = outputs.flatten(0, 1)
    mine = flat[matches.flat]
    at = Cells(cells.indices[matches.cells], cells.strides[matches.cells])
    overlap = iou_loss(to_corners(decode_boxes(mine[:, :4], at)), matches.boxes)
    if size_weights is not None:
        overlap = overlap * size_weights(box_area(matches.boxes))
    is_positive = torch.zeros_like(flat[:, 4]).index_fill(0, matches.flat, 1.0)
    # How sure of the class a cell is to be: as sure as its box is good.
    sureness = torch.zeros_like(mine[:, 5:]).scatter(1, matches.classes[:, None], 1.0)
    sureness = sureness * matches.ious[:, None]
    sums = {
        "loss_iou": IOU_WEIGHT * overlap.sum(),
        "loss_obj": binary_cross_entropy_with_logits(flat[:, 4], is_positive, reduction="sum"),
        "loss_cls": binary_cross_entropy_with_logits(mine[:, 5:], sureness, reduction="sum"),
    }
    if use_l1:
        perfect = encode_boxes(to_centres(matches.boxes), at.indices, at.strides)
        sums["loss_l1"] = (mine[:, :4] - perfect).abs().sum()
    return sums


def count_matches(
    assignments: Sequence[Assignment],
    instances: Sequence[Instances],
    small_threshold: float,
    medium_threshold: float,
) -> Tensor:
    """(5,) int64 named by ``COUNTS``; sizes are areas in px² below each threshold."""
    boxes = torch.cat([labels.gt_boxes.tensor for labels in instances])
    areas = box_area(boxes)[torch.cat([found.unmatched for found in assignments])]
    small, medium = areas < small_threshold, areas < medium_threshold
    by_size = torch.stack([small.sum(), (medium & ~small).sum(), (~medium).sum()])
    totals = by_size.new_tensor([sum(len(found.cells) for found in assignments), len(boxes)])
    return torch.cat([totals, by_size])
