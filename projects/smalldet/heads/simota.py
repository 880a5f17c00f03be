"""SimOTA: which cells are to predict which object.

Ge et al., YOLOX, 2021, arXiv 2107.08430, section 2.1; a fast form of Ge et al., OTA: Optimal
Transport Assignment for Object Detection, 2021, arXiv 2103.14259. The rule is the one of YOLOX's
later code, in which candidates lie around an object's centre, whatever its size.

Shape shorthand: M objects of one frame, A cells, K candidate cells, P positive cells, C classes.
Boxes are xyxy_abs in px of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from smalldet.heads.yolox_cells import Cells
from smalldet.losses.iou import box_iou

CENTRE_RADIUS = 1.5  # cells; a candidate's centre lies within it of the object's, in x and in y
MOST_CELLS = 10  # an object gets at most this many
IOU_COST = 3.0
ELSEWHERE_COST = 1e6  # for a candidate of other objects only
LEAST_LOG = -100.0  # as in PyTorch's binary cross-entropy


@dataclass(frozen=True)
class Predictions:
    """What the network says in one frame, in float32.

    Attributes:
        boxes: (A, 4).
        objectness: (A,) logits.
        classes: (A, C) logits.
    """

    boxes: Tensor
    objectness: Tensor
    classes: Tensor

    def at(self, cells: Tensor) -> Predictions:
        """Those of some cells (indices)."""
        return Predictions(self.boxes[cells], self.objectness[cells], self.classes[cells])


@dataclass(frozen=True)
class Assignment:
    """Positive cells of one frame.

    Attributes:
        cells: (P,) indices of the cells, ascending.
        objects: (P,) index of the object of each.
        ious: (P,) overlap of each one's predicted box with its object.
        unmatched: (M,) objects without a cell, as the rule left them (before any rescue).
    """

    cells: Tensor
    objects: Tensor
    ious: Tensor
    unmatched: Tensor


@torch.no_grad()
def simota(
    boxes: Tensor,
    classes: Tensor,
    predicted: Predictions,
    cells: Cells,
    rescue_unmatched: bool = False,
) -> Assignment:
    """Give each object the cells that predict it best.

    An object may take any candidate cell of the frame, those around its own centre first. It takes
    as many of the cheapest as its 10 best overlaps add up to (at least 1). A cell that several
    take goes to the object for which it is cheapest. So an object can end without a cell: all of
    its choice went to others, or it lies outside the image.

    Args:
        boxes: (M, 4), which may lie outside the image.
        classes: (M,) below C.
        predicted: of the same frame.
        cells: the A cells.
        rescue_unmatched: give each object that the rule leaves without a cell the best one that is
            free, or that belongs to an object with several; only with more objects than cells
            can any stay without.
    """
    # Costs are of the size of 1e6; half precision has no such numbers.
    with torch.autocast(boxes.device.type, enabled=False):
        near = near_centres(boxes, cells)
        owners = _choose(boxes, classes, predicted, near)
        unmatched = torch.bincount(owners[owners >= 0], minlength=len(boxes)) == 0
        if rescue_unmatched:
            _rescue(owners, unmatched, boxes, classes, predicted, cells, near)
        positive = (owners >= 0).nonzero()[:, 0]
        objects = owners[positive]
        ious = box_iou(boxes[objects], predicted.boxes[positive])
    return Assignment(positive, objects, ious, unmatched)


def near_centres(boxes: Tensor, cells: Cells) -> Tensor:
    """(M, A) whether a cell's centre is less than 1.5 strides from the object's, in x and in y."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    x, y = cells.centres.unbind(1)
    radii = CENTRE_RADIUS * cells.strides
    across = (middles[:, :1] - x).abs() < radii
    return across & ((middles[:, 1:] - y).abs() < radii)


def match_costs(boxes: Tensor, classes: Tensor, predicted: Predictions) -> tuple[Tensor, Tensor]:
    """Cost of every pair, wherever it lies, and its IoU; both (M, K).

    Binary cross-entropy of p = sqrt(p_class · p_object) over all classes, and 3 · -ln(IoU).
    """
    ious = box_iou(boxes[:, None], predicted.boxes[None])
    p = (predicted.classes.sigmoid() * predicted.objectness.sigmoid()[:, None]).sqrt()
    if_right = -p.log().clamp(min=LEAST_LOG)
    if_wrong = -torch.log1p(-p).clamp(min=LEAST_LOG)
    class_costs = if_wrong.sum(1) + (if_right - if_wrong)[:, classes].T
    return class_costs - IOU_COST * (ious + 1e-8).log(), ious


def _choose(boxes: Tensor, classes: Tensor, predicted: Predictions, near: Tensor) -> Tensor:
    """(A,) object of each cell, -1 for background."""
    owners = torch.full(near.shape[1:], -1, dtype=torch.long, device=boxes.device)
    candidates = near.any(0).nonzero()[:, 0]
    if len(candidates) == 0:
        return owners
    costs, ious = match_costs(boxes, classes, predicted.at(candidates))
    costs = costs + ELSEWHERE_COST * ~near[:, candidates]
    most = min(MOST_CELLS, len(candidates))
    wanted = ious.topk(most, dim=1).values.sum(1).int().clamp(min=1)
    cheapest = costs.topk(most, dim=1, largest=False).indices
    within = torch.arange(most, device=boxes.device) < wanted[:, None]
    taken = torch.zeros_like(near[:, candidates]).scatter_(1, cheapest, within)
    takers = taken.sum(0)
    # Among all objects, not only among its takers: so does the published rule.
    winners = torch.where(takers > 1, costs.argmin(0), taken.byte().argmax(0))
    owners[candidates] = torch.where(takers > 0, winners, -1)
    return owners


def _rescue(
    owners: Tensor,
    unmatched: Tensor,
    boxes: Tensor,
    classes: Tensor,
    predicted: Predictions,
    cells: Cells,
    near: Tensor,
) -> None:
    """Change ``owners`` (A,) in place: a cell for each unmatched object, in their order.

    The cheapest around the object's centre; if none is to be had there, the closest to it.
    """
    held = torch.bincount(owners[owners >= 0], minlength=len(boxes))
    for index in unmatched.nonzero()[:, 0].tolist():
        own = slice(index, index + 1)
        costs = match_costs(boxes[own], classes[own], predicted)[0][0].double()
        middle = (boxes[index, :2] + boxes[index, 2:]) / 2
        distances = (cells.centres - middle).double().norm(dim=1)
        costs = torch.where(near[index], costs, ELSEWHERE_COST + distances)
        available = (owners < 0) | (held[owners.clamp(min=0)] > 1)
        if not available.any():
            return
        cell = costs.masked_fill(~available, torch.inf).argmin()
        if owners[cell] >= 0:
            held[owners[cell]] -= 1
        owners[cell] = index
        held[index] = 1
