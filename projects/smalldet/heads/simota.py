"""SimOTA: which cells are to predict which object.

Ge et al., YOLOX, 2021, arXiv 2107.08430, section 2.1; a fast form of Ge et al., OTA: Optimal
Transport Assignment for Object Detection, 2021, arXiv 2103.14259. The rule is the one of YOLOX's
later code, in which candidates lie around an object's centre, whatever its size. It knows single
frames; here all frames of a batch go through it at once, padded to the most objects and candidates.

Shape shorthand: B frames, N objects of all frames, M objects of the fullest one, A cells,
K candidate cells of the frame with the most, P positive cells of all frames, C classes.
Boxes are xyxy_abs in px of the network's input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from smalldet.heads.yolox_cells import Cells, Level
from smalldet.losses.iou import box_iou

CENTRE_RADIUS = 1.5  # cells; a candidate's centre lies within it of the object's, in x and in y
MOST_CELLS = 10  # an object gets at most this many
IOU_COST = 3.0
ELSEWHERE_COST = 1e6  # for a candidate of other objects only
LEAST_LOG = -100.0  # as in PyTorch's binary cross-entropy
NOWHERE = -1e9  # px; where the objects lie that fill up a frame


@dataclass(frozen=True)
class Objects:
    """What is labelled in B frames, frame by frame.

    Attributes:
        boxes: (N, 4), which may lie outside the image.
        classes: (N,) int64, below C.
        counts: B numbers that add up to N, the objects of each frame.
    """

    boxes: Tensor
    classes: Tensor
    counts: Sequence[int]

    def padded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (B, M, 4), classes (B, M), and whether there is an object, (B, M)."""
        counts = list(self.counts)
        boxes, classes = (list(x.split(counts)) for x in (self.boxes, self.classes))
        boxes = pad_sequence(boxes, batch_first=True, padding_value=NOWHERE)
        classes = pad_sequence(classes, batch_first=True)
        return boxes, classes, _first(torch.tensor(counts, device=boxes.device), boxes.shape[1])


@dataclass(frozen=True)
class Predictions:
    """What the network says at some places, in float32.

    Attributes:
        boxes: (..., 4).
        objectness: (...) logits.
        classes: (..., C) logits.
    """

    boxes: Tensor
    objectness: Tensor
    classes: Tensor


# Those at given frames and cells: two arrays of indices that broadcast to one another.
Predict = Callable[[Tensor, Tensor], Predictions]
# How alike boxes (..., 4) are, of 0 to 1.
Overlap = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Assignment:
    """Positive cells of B frames, by frame and cell.

    Attributes:
        frames: (P,) frame of each.
        cells: (P,) index among the A cells.
        objects: (P,) index among the N objects.
        ious: (P,) overlap of each one's predicted box with its object.
        unmatched: (N,) objects without a cell, as the rule left them (before any rescue).
    """

    frames: Tensor
    cells: Tensor
    objects: Tensor
    ious: Tensor
    unmatched: Tensor


@torch.no_grad()
def simota(
    objects: Objects,
    predict: Predict,
    cells: Cells,
    rescue_unmatched: bool = False,
    overlap: Overlap = box_iou,
) -> Assignment:
    """Give each object the cells that predict it best.

    An object may take any candidate cell of the frame, those around its own centre first. It takes
    as many of the cheapest as its 10 best overlaps add up to (at least 1). A cell that several
    take goes to the object for which it is cheapest. So an object can end without a cell: all of
    its choice went to others, or it lies outside the image.

    Args:
        objects: of B frames.
        predict: gives what the network says of the same frames.
        cells: the A cells.
        rescue_unmatched: give each object that the rule leaves without a cell the best one that is
            free, or that belongs to an object with several; only with more objects than cells
            can any stay without.
        overlap: how alike a predicted box and an object are, for costs and numbers of cells; the
            ``ious`` of the result are IoUs in any case.
    """
    # Costs are of the size of 1e6; half precision has no such numbers.
    with torch.autocast(cells.strides.device.type, enabled=False):
        owners = _choose(objects, predict, cells, overlap)
        held = torch.bincount(owners[owners >= 0], minlength=len(objects.boxes))
        if rescue_unmatched:
            _rescue(owners, held.clone(), objects, predict, cells, overlap)
        frames, positive = (owners >= 0).nonzero().unbind(1)
        chosen = owners[frames, positive]
        ious = box_iou(objects.boxes[chosen], predict(frames, positive).boxes)
    return Assignment(frames, positive, chosen, ious, held == 0)


def near_centres(boxes: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """(..., M, K) whether a cell's centre is less than 1.5 strides from the object's, in x and y.

    Args:
        boxes: (..., M, 4).
        centres: (..., K, 2) of the cells, px.
        strides: (..., K) of the cells, px.
    """
    x, y = ((boxes[..., :2] + boxes[..., 2:]) / 2).unsqueeze(-2).unbind(-1)
    across, down = centres.unsqueeze(-3).unbind(-1)
    radii = CENTRE_RADIUS * strides.unsqueeze(-2)
    return ((x - across).abs() < radii) & ((y - down).abs() < radii)


def match_costs(
    boxes: Tensor, classes: Tensor, predicted: Predictions, overlap: Overlap = box_iou
) -> tuple[Tensor, Tensor]:
    """Cost of every pair of each frame, wherever it lies, and its overlap; both (B, M, K).

    Binary cross-entropy of p = sqrt(p_class · p_object) over all classes, and 3 · -ln(overlap).

    Args:
        boxes: (B, M, 4) of the objects.
        classes: (B, M) of the objects.
        predicted: at (B, K) places.
        overlap: see :func:`simota`.
    """
    in_columns = predicted.boxes.mT.contiguous().mT  # the same, but fast coordinate by coordinate
    overlaps = overlap(boxes[:, :, None], in_columns[:, None])
    p = (predicted.classes.sigmoid() * predicted.objectness.sigmoid()[..., None]).sqrt()
    if_right = -p.log().clamp(min=LEAST_LOG)
    if_wrong = -torch.log1p(-p).clamp(min=LEAST_LOG)
    by_class = (if_wrong.sum(-1, keepdim=True) + (if_right - if_wrong)).mT.contiguous()
    frames = torch.arange(len(boxes), device=boxes.device)[:, None]
    return by_class[frames, classes].sub((overlaps + 1e-8).log_(), alpha=IOU_COST), overlaps


def _choose(objects: Objects, predict: Predict, cells: Cells, overlap: Overlap) -> Tensor:
    """(B, A) object of each cell (of N), -1 for background."""
    boxes, classes, exists = objects.padded()
    owners = torch.full((len(boxes), len(cells)), -1, device=boxes.device)
    candidates, filled = _candidates(boxes, cells)
    number = candidates.shape[1]
    if number == 0:
        return owners
    costs, overlaps = _pairs(boxes, classes, predict, cells, candidates, filled, overlap)
    most = min(MOST_CELLS, number)
    wanted = overlaps.topk(most).values.sum(-1).int().clamp(min=1)
    cheapest = costs.topk(most, largest=False)
    within = _first(wanted, most) & cheapest.values.isfinite() & exists[..., None]
    frames, takers, ranks = within.nonzero().unbind(1)
    places = frames * number + cheapest.indices[frames, takers, ranks]
    winners = takers.new_zeros(len(boxes) * number).index_put_((places,), takers)
    several = (torch.bincount(places) > 1).nonzero()[:, 0]
    # Among all objects, not only among its takers: so does the published rule.
    rivals = costs[several // number, :, several % number]
    rivals.masked_fill_(~exists[several // number], torch.inf)
    winners[several] = rivals.argmin(1)
    numbers = exists.flatten().cumsum(0).view_as(exists) - 1  # of each object, among all N
    owners[frames, candidates.flatten()[places]] = numbers[frames, winners[places]]
    return owners


def _pairs(
    boxes: Tensor,
    classes: Tensor,
    predict: Predict,
    cells: Cells,
    candidates: Tensor,
    filled: Tensor,
    overlap: Overlap,
) -> tuple[Tensor, Tensor]:
    """Costs with what being elsewhere costs, and overlaps (B, M, K); inf and 0 if not filled."""
    frames = torch.arange(len(boxes), device=boxes.device)[:, None]
    predicted, empty = predict(frames, candidates), ~filled[..., None]
    predicted = replace(predicted, boxes=predicted.boxes.masked_fill(empty, 0))
    costs, overlaps = match_costs(boxes, classes, predicted, overlap)
    centres = cells.centres[candidates].masked_fill(empty, torch.inf)
    near = near_centres(boxes, centres, cells.strides[candidates])
    elsewhere = torch.where(filled, ELSEWHERE_COST, torch.inf)[:, None]
    return torch.where(near, costs, costs + elsewhere), overlaps.masked_fill_(empty.mT, 0)


def _candidates(boxes: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
    """Cells (B, K) near any object, ascending and filled up with 0, and whether there is one."""
    sizes = [level.rows * level.columns for level in cells.levels]
    levels = zip(cells.centres.split(sizes), cells.levels, strict=True)
    near = torch.cat([_near_any(boxes, centres, level) for centres, level in levels], dim=1)
    counts = near.sum(1)
    filled = _first(counts, int(counts.max()))
    table = torch.zeros_like(filled, dtype=torch.long)
    return table.masked_scatter_(filled, near.nonzero()[:, 1]), filled


def _near_any(boxes: Tensor, centres: Tensor, level: Level) -> Tensor:
    """(B, cells) which cells of a level, with these centres (cells, 2), are near any box (B, M, 4).

    The condition of ``near_centres`` is one on rows and one on columns. So how many objects a cell
    is near is a product of two small matrices, without looking at every pair.
    """
    grid = centres.view(level.rows, level.columns, 2)
    x, y = ((boxes[..., :2] + boxes[..., 2:]) / 2).unsqueeze(-2).unbind(-1)
    radius = CENTRE_RADIUS * level.stride
    in_row = ((y - grid[:, 0, 1]).abs() < radius).float()
    in_column = ((x - grid[0, :, 0]).abs() < radius).float()
    return (in_row.mT @ in_column).flatten(1) > 0


def _first(counts: Tensor, length: int) -> Tensor:
    """(..., length), true for the first ``counts`` (...) of each row."""
    return torch.arange(length, device=counts.device) < counts[..., None]


def _rescue(
    owners: Tensor,
    held: Tensor,
    objects: Objects,
    predict: Predict,
    cells: Cells,
    overlap: Overlap,
) -> None:
    """Change ``owners`` in place: a cell for each object that holds none, in their order.

    The cheapest around the object's centre; if none is to be had there, the closest to it.

    Args:
        owners: (B, A) object of each cell, -1 for background.
        held: (N,) how many cells each object has; changed too.
        objects: of B frames.
        predict: gives what the network says of them.
        cells: the A cells.
        overlap: see :func:`simota`.
    """
    frames = torch.arange(len(owners)).repeat_interleave(torch.tensor(objects.counts))
    everywhere = torch.arange(len(cells), device=owners.device)[None]
    for index in (held == 0).nonzero()[:, 0].tolist():
        frame, own = frames[index : index + 1], slice(index, index + 1)
        box, label = objects.boxes[None, own], objects.classes[None, own]
        predicted = predict(frame[:, None].to(owners.device), everywhere)
        costs = match_costs(box, label, predicted, overlap)[0].flatten().double()
        middle = (box[0, :, :2] + box[0, :, 2:]) / 2
        distances = (cells.centres - middle).double().norm(dim=1)
        near = near_centres(box, cells.centres[None], cells.strides[None]).flatten()
        costs = torch.where(near, costs, ELSEWHERE_COST + distances)
        mine = owners[int(frame)]
        available = (mine < 0) | (held[mine.clamp(min=0)] > 1)
        if not available.any():
            continue
        cell = costs.masked_fill(~available, torch.inf).argmin()
        if mine[cell] >= 0:
            held[mine[cell]] -= 1
        mine[cell] = index
        held[index] = 1
