"""Detectron2's RPN and box predictor with the box losses and the anchor metric of small objects.

With ``smooth_l1`` and ``iou`` they are Detectron2's own, to the bit; state-dict names are the same
always. Boxes are xyxy_abs in px of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.utils.memory import retry_if_cuda_oom
from torch import Tensor

from smalldet.losses.iou import KINDS, NWD_SIZE, IOULoss, check_choice, likeness_of

SMOOTH_L1 = "smooth_l1"


class SmallObjectPredictor(FastRCNNOutputLayers):
    """Class scores and boxes of pooled regions, with more box losses.

    Args:
        input_shape: of the features of a region.
        box_reg_loss_type: "smooth_l1", or a kind of ``IOULoss``: "iou", "giou", "diou", "ciou",
            "nwd".
        nwd_size: px; see ``normalized_wasserstein``.
        arguments: Detectron2's.

    Raises:
        ValueError: an unknown loss, or a size that is not above 0.
    """

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        box_reg_loss_type: str = SMOOTH_L1,
        nwd_size: float = NWD_SIZE,
        **arguments: Any,
    ) -> None:
        super().__init__(input_shape, box_reg_loss_type=box_reg_loss_type, **arguments)
        self.box_loss = _box_loss(box_reg_loss_type, nwd_size)

    def box_reg_loss(
        self, proposal_boxes: Tensor, gt_boxes: Tensor, pred_deltas: Tensor, gt_classes: Tensor
    ) -> Tensor:
        """Loss of the boxes of R regions, a scalar: sum over those with an object, over R.

        Args:
            proposal_boxes: (R, 4).
            gt_boxes: (R, 4); of a region without an object any.
            pred_deltas: (R, 4), or (R, 4 · num_classes).
            gt_classes: (R,), ``num_classes`` for background.
        """
        if self.box_loss is None:
            return super().box_reg_loss(proposal_boxes, gt_boxes, pred_deltas, gt_classes)
        objects = ((gt_classes >= 0) & (gt_classes < self.num_classes)).nonzero()[:, 0]
        of_classes = pred_deltas.unflatten(1, (-1, 4))
        column = gt_classes[objects] % of_classes.shape[1]  # 0 where all classes share one
        deltas = of_classes[objects, column]
        boxes = self.box2box_transform.apply_deltas(deltas, proposal_boxes[objects])
        return self.box_loss(boxes, gt_boxes[objects]) / max(len(gt_classes), 1)


class SmallObjectRPN(RPN):
    """Region proposals with more box losses, whose anchors may be matched by NWD.

    Args:
        box_reg_loss_type: as in :class:`SmallObjectPredictor`.
        assignment_metric: what ``anchor_matcher`` compares anchors and objects by, and what its
            thresholds refer to: "iou" or "nwd".
        nwd_size: px; see ``normalized_wasserstein``.
        arguments: Detectron2's.

    Raises:
        ValueError: an unknown loss or metric, or a size that is not above 0.
    """

    def __init__(
        self,
        *,
        box_reg_loss_type: str = SMOOTH_L1,
        assignment_metric: str = "iou",
        nwd_size: float = NWD_SIZE,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.box_loss = _box_loss(box_reg_loss_type, nwd_size)
        self.assignment_metric = assignment_metric
        self.likeness = likeness_of(assignment_metric, nwd_size)

    def losses(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[Tensor],
        gt_labels: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        gt_boxes: list[Tensor],
    ) -> dict[str, Tensor]:
        """``loss_rpn_cls`` and ``loss_rpn_loc`` of B images and R anchors on L levels.

        Args:
            anchors: L times (R of the level, 4).
            pred_objectness_logits: L times (B, R of the level).
            gt_labels: B times (R,): 1 positive, 0 negative, -1 not sampled.
            pred_anchor_deltas: L times (B, R of the level, 4).
            gt_boxes: B times (R, 4), the object of each positive anchor.
        """
        found = super().losses(
            anchors, pred_objectness_logits, gt_labels, pred_anchor_deltas, gt_boxes
        )
        if self.box_loss is None:
            return found
        images, places = (torch.stack(gt_labels) == 1).nonzero().unbind(1)
        deltas = torch.cat(pred_anchor_deltas, dim=1)[images, places]
        boxes = self.box2box_transform.apply_deltas(deltas, Boxes.cat(anchors).tensor[places])
        loss = self.box_loss(boxes, torch.stack(gt_boxes)[images, places])
        weight = self.loss_weight.get("loss_rpn_loc", 1.0)
        count = self.batch_size_per_image * len(gt_labels)
        return {**found, "loss_rpn_loc": loss * weight / count}

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: Sequence[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Labels and objects of R anchors in each of B images.

        Args:
            anchors: of the levels, R together.
            gt_instances: B times the ``gt_boxes`` of an image.

        Returns:
            B times (R,): 1 positive, 0 negative, -1 not sampled; and B times (R, 4), the object of
            each positive anchor.
        """
        if self.assignment_metric == "iou":
            return super().label_and_sample_anchors(anchors, gt_instances)
        found = [self._label(Boxes.cat(anchors), instances) for instances in gt_instances]
        return [labels for labels, _ in found], [boxes for _, boxes in found]

    def _label(self, anchors: Boxes, instances: Instances) -> tuple[Tensor, Tensor]:
        objects, places = instances.gt_boxes.tensor, anchors.tensor
        # Both fall back to the CPU where a GPU has too little memory.
        likeness = retry_if_cuda_oom(self.likeness)(objects[:, None], places)
        # One that is like no anchor would be as near to all, and make all of them positive.
        likeness = likeness[seen := likeness.any(dim=1)]
        matches, labels = retry_if_cuda_oom(self.anchor_matcher)(likeness)
        matches, labels = matches.to(places.device), labels.to(places.device)
        if self.anchor_boundary_thresh >= 0:
            inside = anchors.inside_box(instances.image_size, self.anchor_boundary_thresh)
            labels[~inside] = -1
        objects = objects[seen.to(places.device)]
        boxes = objects[matches] if len(objects) else torch.zeros_like(places)
        return self._subsample_labels(labels), boxes


def box_loss_weight(box_reg_loss_type: str, delta_weight: float) -> dict[str, float]:
    """A predictor's ``loss_weight`` that keeps the box loss's share of the total, of whatever type.

    Detectron2 divides the sum over the positives by the number of sampled regions, positive or not;
    so do all losses here. Its smooth L1 with beta 0 adds up four differences, each multiplied by a
    weight of ``Box2BoxTransform``: for boxes as near as those that are matched about as much as an
    IoU loss where the weights are 1, as in the RPN, and 8, 16 and 24 times as much in the stages of
    a cascade, whose weights are 10, 20 and 30. NWD's loss is as much as an IoU loss for sides of
    about twice its ``nwd_size``, and half of it for sides that equal it.

    Args:
        box_reg_loss_type: as in :class:`SmallObjectPredictor`.
        delta_weight: the first weight of the stage's ``Box2BoxTransform``.
    """
    return {"loss_box_reg": 1.0 if box_reg_loss_type == SMOOTH_L1 else delta_weight}


def _box_loss(kind: str, nwd_size: float) -> IOULoss | None:
    """The sum of the losses of boxes; None for Detectron2's own loss of deltas."""
    check_choice("box_reg_loss_type", kind, (SMOOTH_L1, *KINDS))
    return None if kind == SMOOTH_L1 else IOULoss(kind, "sum", nwd_size=nwd_size)
