"""Losses of the YOLOX head, as sums over the positive cells, with the counts to divide them by.

Ge et al., YOLOX, 2021, arXiv 2107.08430, and its code. Shape shorthand: B frames, A cells,
C classes, N objects and P positive cells over all frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from detectron2.structures import Instances
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from smalldet.heads.simota import Assignment, Objects, Predictions, simota
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


def labelled(instances: Sequence[Instances]) -> Objects:
    """The objects of B frames, from their ``gt_boxes`` and ``gt_classes``."""
    return Objects(
        torch.cat([labels.gt_boxes.tensor for labels in instances]).float(),
        torch.cat([labels.gt_classes for labels in instances]).long(),
        [len(labels) for labels in instances],
    )


def assign(outputs: Tensor, cells: Cells, objects: Objects, rescue_unmatched: bool) -> Assignment:
    """SimOTA's choice for B frames.

    Args:
        outputs: (B, A, 5 + C) float32, as the network gives them.
        cells: the A cells.
        objects: of the B frames.
        rescue_unmatched: see ``simota``.
    """

    def predict(frames: Tensor, places: Tensor) -> Predictions:
        found = outputs.detach()[frames, places]
        boxes = decode_boxes(found[..., :4], cells.indices[places], cells.strides[places])
        return Predictions(to_corners(boxes), found[..., 4], found[..., 5:])

    return simota(objects, predict, cells, rescue_unmatched)


def summed_losses(
    outputs: Tensor,
    cells: Cells,
    objects: Objects,
    found: Assignment,
    size_weights: Callable[[Tensor], Tensor] | None = None,
    use_l1: bool = False,
) -> dict[str, Tensor]:
    """Sums by name: ``loss_iou`` (times 5), ``loss_obj``, ``loss_cls``, and ``loss_l1`` if used.

    Args:
        outputs: (B, A, 5 + C) float32, as the network gives them.
        cells: the A cells.
        objects: of the B frames.
        found: the positive cells of each.
        size_weights: from areas (P,) in px² to the weights (P,) of the IoU terms; None: all 1.
        use_l1: add the distance of the raw box outputs to those of a perfect box.
    """
    mine, boxes = outputs[found.frames, found.cells], objects.boxes[found.objects]
    indices, strides = cells.indices[found.cells], cells.strides[found.cells]
    overlap = iou_loss(to_corners(decode_boxes(mine[:, :4], indices, strides)), boxes)
    if size_weights is not None:
        overlap = overlap * size_weights(box_area(boxes))
    is_positive = torch.zeros_like(outputs[..., 4])
    is_positive[found.frames, found.cells] = 1
    # How sure of the class a cell is to be: as sure as its box is good.
    classes = objects.classes[found.objects, None]
    sureness = torch.zeros_like(mine[:, 5:]).scatter(1, classes, found.ious[:, None])
    sums = {
        "loss_iou": IOU_WEIGHT * overlap.sum(),
        "loss_obj": binary_cross_entropy_with_logits(outputs[..., 4], is_positive, reduction="sum"),
        "loss_cls": binary_cross_entropy_with_logits(mine[:, 5:], sureness, reduction="sum"),
    }
    if use_l1:
        perfect = encode_boxes(to_centres(boxes), indices, strides)
        sums["loss_l1"] = (mine[:, :4] - perfect).abs().sum()
    return sums


def count_matches(
    found: Assignment, objects: Objects, small_threshold: float, medium_threshold: float
) -> Tensor:
    """(5,) int64 named by ``COUNTS``; sizes are areas in px² below each threshold."""
    areas = box_area(objects.boxes[found.unmatched])
    small, medium = areas < small_threshold, areas < medium_threshold
    by_size = torch.stack([small.sum(), (medium & ~small).sum(), (~medium).sum()])
    totals = by_size.new_tensor([len(found.cells), len(objects.boxes)])
    return torch.cat([totals, by_size])
