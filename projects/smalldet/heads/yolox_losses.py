"""Losses of the YOLOX head, as sums over the positive cells, with the counts to divide them by.

Ge et al., YOLOX, 2021, arXiv 2107.08430, and its code. Shape shorthand: B frames, A cells,
C classes, N objects and P positive cells over all frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from detectron2.structures import Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from smalldet.heads.simota import Assignment, Objects, Overlap, Predictions, simota
from smalldet.heads.yolox_cells import Cells, decode_boxes, encode_boxes, to_centres, to_corners
from smalldet.losses.class_balance import ClassBalance
from smalldet.losses.focal import FocalLoss
from smalldet.losses.iou import NWD_SIZE, IOULoss, box_area, box_iou, check_choice
from smalldet.losses.size_aware import SizeAwareFocalLoss, SizeAwareIOULoss, SizeAwareLossWrapper

IOU_WEIGHT = 5.0
TERMS = ("iou", "objectness", "classification")
CLASSIFICATION_LOSSES = ("bce", "focal")
# What is counted, in this order; "unmatched" are objects that the published rule gives no cell.
COUNTS = ("positives", "objects", "unmatched_small", "unmatched_medium", "unmatched_large")


class Assigned(NamedTuple):
    """What the losses are computed from; outputs as of ``YOLOXHead.outputs``."""

    outputs: Tensor
    cells: Cells
    objects: Objects
    found: Assignment


@dataclass(frozen=True)
class LossSums:
    """Losses of some frames before their division by a number of positive cells.

    Attributes:
        sums: scalars by name.
        counts: (5,) int64, named by ``COUNTS``; with a balanced classifier (5 + C,), the positive
            cells of each class behind them.
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


def assign(
    outputs: Tensor,
    cells: Cells,
    objects: Objects,
    rescue_unmatched: bool,
    overlap: Overlap = box_iou,
) -> Assignment:
    """SimOTA's choice for B frames.

    Args:
        outputs: (B, A, 5 + C) float32, as the network gives them.
        cells: the A cells.
        objects: of the B frames.
        rescue_unmatched, overlap: see ``simota``.
    """

    def predict(frames: Tensor, places: Tensor) -> Predictions:
        found = outputs.detach()[frames, places]
        boxes = decode_boxes(found[..., :4], cells.indices[places], cells.strides[places])
        return Predictions(to_corners(boxes), found[..., 4], found[..., 5:])

    return simota(objects, predict, cells, rescue_unmatched, overlap)


class LossTerms(nn.Module):
    """The losses of the outputs, as sums.

    Args:
        size_aware_terms: which of ``TERMS`` weigh each positive cell by the size of its object.
        weighting: how; arguments of ``compute_size_weights``.
        iou_loss: kind of ``IOULoss``.
        classification_loss: "bce", or "focal" (alpha 0.25, gamma 2).
        use_l1: add the distance of the raw box outputs to those of a perfect box.
        nwd_size: px; see ``normalized_wasserstein``.
        balance: draws the positive cells that a second classifier learns from; None: there is none.

    Raises:
        ValueError: an unknown term or loss, or weights or a size that make no sense.
    """

    def __init__(
        self,
        size_aware_terms: Sequence[str],
        weighting: Mapping[str, Any],
        iou_loss: str = "iou",
        classification_loss: str = "bce",
        use_l1: bool = False,
        nwd_size: float = NWD_SIZE,
        balance: ClassBalance | None = None,
    ) -> None:
        super().__init__()
        for term in size_aware_terms:
            check_choice("size_aware_terms", term, TERMS)
        check_choice("classification_loss", classification_loss, CLASSIFICATION_LOSSES)
        self.use_l1 = use_l1
        self.balance = balance
        iou, objectness, classification = (term in size_aware_terms for term in TERMS)
        weighting = {**weighting, "reduction": "sum"}
        if iou:
            self.iou = SizeAwareIOULoss(iou_loss, nwd_size=nwd_size, **weighting)
        else:
            self.iou = IOULoss(iou_loss, "sum", nwd_size=nwd_size)
        self.objectness = _cross_entropy(objectness, weighting)
        if classification_loss == "bce":
            self.classification = _cross_entropy(classification, weighting)
        elif classification:
            self.classification = SizeAwareFocalLoss(**weighting)
        else:
            self.classification = FocalLoss(reduction="sum")

    def forward(
        self, outputs: Tensor, cells: Cells, objects: Objects, found: Assignment
    ) -> dict[str, Tensor]:
        """``loss_iou`` (times 5), ``loss_obj``, ``loss_cls``; ``loss_l1``, ``loss_abc`` if used.

        Args:
            outputs: as of ``YOLOXHead.outputs``.
            cells: the A cells.
            objects: of the B frames.
            found: the positive cells of each.
        """
        mine, boxes = outputs[found.frames, found.cells], objects.boxes[found.objects]
        indices, strides = cells.indices[found.cells], cells.strides[found.cells]
        decoded = to_corners(decode_boxes(mine[:, :4], indices, strides))
        logits, *balanced = mine[:, 5:].chunk(1 if self.balance is None else 2, dim=1)
        # How sure of the class a cell is to be: as sure as its box is good.
        classes = objects.classes[found.objects, None]
        sureness = torch.zeros_like(logits).scatter(1, classes, found.ious[:, None])
        areas = box_area(boxes)
        sums = {
            "loss_iou": IOU_WEIGHT * _sum(self.iou, decoded, boxes, areas),
            "loss_obj": self._objectness(outputs[..., 4], found, areas),
            "loss_cls": _sum(self.classification, logits, sureness, areas),
        }
        if self.use_l1:
            perfect = encode_boxes(to_centres(boxes), indices, strides)
            sums["loss_l1"] = (mine[:, :4] - perfect).abs().sum()
        if self.balance is not None:
            kept = self.balance(classes[:, 0])
            rows = (x[kept] for x in (balanced[0], sureness, areas))
            sums["loss_abc"] = _sum(self.classification, *rows)
        return sums

    def _objectness(self, logits: Tensor, found: Assignment, areas: Tensor) -> Tensor:
        positives = (found.frames, found.cells)
        is_positive = torch.zeros_like(logits).index_put(positives, areas.new_ones(()))
        if not isinstance(self.objectness, SizeAwareLossWrapper):
            return self.objectness(logits, is_positive)
        everywhere = torch.full_like(logits, torch.inf)  # empty cells weigh 1, as large objects
        everywhere = everywhere.index_put(positives, areas)
        return self.objectness(logits.flatten(), is_positive.flatten(), everywhere.flatten())


def _cross_entropy(size_aware: bool, weighting: Mapping[str, Any]) -> nn.Module:
    if not size_aware:
        return nn.BCEWithLogitsLoss(reduction="sum")
    return SizeAwareLossWrapper(nn.BCEWithLogitsLoss(reduction="none"), **weighting)


def _sum(loss: nn.Module, predictions: Tensor, targets: Tensor, areas: Tensor) -> Tensor:
    if isinstance(loss, SizeAwareLossWrapper):
        return loss(predictions, targets, areas)
    return loss(predictions, targets)


def count_matches(
    found: Assignment, objects: Objects, small_threshold: float, medium_threshold: float
) -> Tensor:
    """(5,) int64 named by ``COUNTS``; sizes are areas in px² below each threshold."""
    areas = box_area(objects.boxes[found.unmatched])
    small, medium = areas < small_threshold, areas < medium_threshold
    by_size = torch.stack([small.sum(), (medium & ~small).sum(), (~medium).sum()])
    totals = by_size.new_tensor([len(found.cells), len(objects.boxes)])
    return torch.cat([totals, by_size])


def log_counts(counts: Tensor) -> None:
    """Put ``counts``, named by ``COUNTS``, into Detectron2's EventStorage, if one is open."""
    try:
        storage = get_event_storage()
    except AssertionError:  # how Detectron2 says that none is
        return
    values = zip(COUNTS, counts.tolist(), strict=True)
    storage.put_scalars(**{f"yolox/{name}": value for name, value in values})
