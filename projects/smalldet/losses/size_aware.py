"""Losses that weigh small objects more.

An object of area A (px² of the network's input) weighs between 1, if it is large, and
``size_aware_weight``, if it is tiny. Losses are multiplied by that and then divided by the number
of terms as before, not by the sum of the weights; at weight 1 nothing changes, to the bit.
The default thresholds are those of COCO's small and medium objects, 32² and 96².
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from smalldet.losses.focal import FocalLoss
from smalldet.losses.iou import (
    NWD_SIZE,
    REDUCTIONS,
    IOULoss,
    as_xyxy,
    box_area,
    check_choice,
    reduced,
)

SMALL_AREA = 1024.0  # px²
MEDIUM_AREA = 9216.0  # px²
WEIGHT_TYPES = ("exponential", "step", "linear")
RAISED = 1.1  # an object that weighs less is hardly told from a large one


def compute_size_weights(
    areas: Tensor,
    size_aware_weight: float = 2.0,
    small_threshold: float = SMALL_AREA,
    medium_threshold: float = MEDIUM_AREA,
    weight_type: str = "exponential",
) -> Tensor:
    """Weight of each object by its area; w is ``size_aware_weight``.

    * "exponential": w exp(-area / small_threshold), but at least 1, which it is from
      small_threshold · ln w on; ``medium_threshold`` has no part in it and may be any number.
    * "step": w below ``small_threshold``, (1 + w) / 2 below ``medium_threshold``, then 1.
    * "linear": w up to ``small_threshold``, from there on falling to 1 at ``medium_threshold``.

    Args:
        areas: (...) px² of the network's input; negative ones count as 0.
        size_aware_weight: that of the smallest objects; at least 1.
        small_threshold: px².
        medium_threshold: px².
        weight_type: one of the three.

    Returns:
        Weights (...) in [1, w], without a gradient.

    Raises:
        ValueError: as ``check_size_weights``.
    """
    check_size_weights(size_aware_weight, small_threshold, medium_threshold, weight_type)
    areas = areas.detach().clamp(min=0)
    if weight_type == "exponential":
        weights = size_aware_weight * torch.exp(-areas / small_threshold)
    elif weight_type == "step":
        half = torch.full_like(areas, (1 + size_aware_weight) / 2)
        weights = half.masked_fill(areas < small_threshold, size_aware_weight)
        weights = weights.masked_fill(areas >= medium_threshold, 1.0)
    else:
        fallen = (areas - small_threshold) / (medium_threshold - small_threshold)
        weights = size_aware_weight - (size_aware_weight - 1) * fallen.clamp(0, 1)
    return weights.clamp(1.0, size_aware_weight)


def check_size_weights(
    size_aware_weight: float, small_threshold: float, medium_threshold: float, weight_type: str
) -> None:
    """ValueError for an unknown type, a weight below 1, or thresholds not 0 < small < medium, of
    which exponential weights have the first alone."""
    check_choice("weight_type", weight_type, WEIGHT_TYPES)
    if size_aware_weight < 1:
        raise ValueError(
            f"size_aware_weight is {size_aware_weight}; it is the weight of the smallest objects "
            "where large ones weigh 1, so give at least 1."
        )
    has_medium = weight_type != "exponential"
    if not small_threshold > 0 or (has_medium and not small_threshold < medium_threshold):
        raise ValueError(
            f"small_threshold is {small_threshold} and medium_threshold {medium_threshold}; give "
            "two areas in px², the first above 0 and below the second."
        )


def proposed_thresholds(
    terciles: tuple[float, float], size_aware_weight: float = 2.0, weight_type: str = "exponential"
) -> dict[str, int]:
    """The thresholds that have a part in the weights, such that the largest third weighs 1.

    "step" and "linear" weights take the terciles as they are; "exponential" ones fall to 1 at the
    upper tercile where ``small_threshold`` is that divided by ln ``size_aware_weight``.

    Args:
        terciles: areas below which a third and two thirds of the objects are, px² of the network's
            input.
        size_aware_weight: that of the smallest objects; above 1.
        weight_type: as in :func:`compute_size_weights`.

    Returns:
        ``small_threshold`` and, but for "exponential", ``medium_threshold``; whole px².

    Raises:
        ValueError: an unknown type, or a weight of 1 or less, at which no threshold does anything.
    """
    check_choice("weight_type", weight_type, WEIGHT_TYPES)
    if size_aware_weight <= 1:
        raise ValueError(
            f"size_aware_weight is {size_aware_weight}; thresholds mean something above 1 alone, "
            "where small objects weigh more than large ones. Give such a weight."
        )
    small, medium = terciles
    if weight_type == "exponential":
        return {"small_threshold": round(medium / math.log(size_aware_weight))}
    return {"small_threshold": round(small), "medium_threshold": round(medium)}


def proposals_text(
    areas: ArrayLike, terciles: tuple[float, float], size_aware_weight: float = 2.0
) -> str:
    """A line for each type of weights: what is proposed, and the share of objects that it raises.

    Args:
        areas: (G,) of the objects, px² of the network's input.
        terciles: see :func:`proposed_thresholds`, with its errors.
        size_aware_weight: likewise.
    """
    known = torch.as_tensor(np.asarray(areas))

    def share(kind: str, **thresholds: float) -> str:
        weights = compute_size_weights(known, size_aware_weight, weight_type=kind, **thresholds)
        return f"{100 * float((weights > RAISED).double().mean()):.0f} %"

    lines = []
    for kind in WEIGHT_TYPES:
        found = proposed_thresholds(terciles, size_aware_weight, kind)
        lines.append(
            f"{kind}: {', '.join(f'{name} {value}' for name, value in found.items())}; "
            f"{share(kind, **found)} of the boxes weigh more than {RAISED} ({share(kind)} with "
            "32² and 96² px)"
        )
    return "\n".join(lines)


class SizeAwareLossWrapper(nn.Module):
    """Any loss of N objects, each weighed by its size.

    Args:
        loss: called with all but the last argument of :meth:`forward`; gives (N,) or (N, ...), one
            row an object, so it must not reduce.
        size_aware_weight: as in :func:`compute_size_weights`; so are the next three.
        small_threshold: px².
        medium_threshold: px².
        weight_type: one of the three.
        reduction: "none", "mean" (over the entries, not over the weights) or "sum".

    Raises:
        ValueError: as ``check_size_weights``; an unknown reduction.
    """

    def __init__(
        self,
        loss: nn.Module,
        size_aware_weight: float = 2.0,
        small_threshold: float = SMALL_AREA,
        medium_threshold: float = MEDIUM_AREA,
        weight_type: str = "exponential",
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        check_size_weights(size_aware_weight, small_threshold, medium_threshold, weight_type)
        self.loss = loss
        self.weighting = (size_aware_weight, small_threshold, medium_threshold, weight_type)
        self.reduction = reduction

    def forward(self, predictions: Tensor, targets: Tensor, areas: Tensor) -> Tensor:
        """Weighted loss.

        Args:
            predictions: first argument of the loss, (N, ...).
            targets: second argument of the loss, (N, ...).
            areas: (N,) of the objects, px² of the network's input.

        Raises:
            ValueError: the loss does not give a row an object.
        """
        losses = self.loss(predictions, targets)
        if losses.shape[:1] != areas.shape:
            raise ValueError(
                f"The loss has shape {tuple(losses.shape)} for {tuple(areas.shape)} areas; wrap "
                "one that gives a row an object (reduction='none')."
            )
        weights = compute_size_weights(areas, *self.weighting)
        weights = weights.reshape(-1, *[1] * (losses.dim() - 1))
        return reduced(losses * weights, self.reduction)


class SizeAwareIOULoss(SizeAwareLossWrapper):
    """IoU loss of N boxes, weighed by the area of the target box; takes the place of ``IOULoss``.

    Args:
        kind: as of ``IOULoss``.
        box_format: of predictions and targets, "xyxy" or "cxcywh", both absolute.
        nwd_size: px; see ``normalized_wasserstein``.
        weighting: keyword arguments of :class:`SizeAwareLossWrapper`.
    """

    def __init__(
        self,
        kind: str = "iou",
        box_format: str = "xyxy",
        nwd_size: float = NWD_SIZE,
        **weighting: Any,
    ) -> None:
        super().__init__(IOULoss(kind, "none", box_format, nwd_size), **weighting)
        self.box_format = box_format

    def forward(self, predictions: Tensor, targets: Tensor, areas: Tensor | None = None) -> Tensor:
        """(N, 4) and (N, 4) in ``box_format``; ``areas`` are those of ``targets`` unless given.

        Raises:
            ValueError: the targets are of another format, as far as their sides tell.
        """
        areas = box_area(as_xyxy(targets, self.box_format)) if areas is None else areas
        return super().forward(predictions, targets, areas)


class SizeAwareFocalLoss(SizeAwareLossWrapper):
    """Focal loss of N objects and C classes, weighed by the area of the object.

    Args:
        alpha: weight of targets of 1, or None.
        gamma: exponent of the error.
        weighting: keyword arguments of :class:`SizeAwareLossWrapper`.
    """

    def __init__(self, alpha: float | None = 0.25, gamma: float = 2.0, **weighting: Any) -> None:
        super().__init__(FocalLoss(alpha, gamma, reduction="none"), **weighting)
