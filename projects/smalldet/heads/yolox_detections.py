"""From the decoded predictions of one image to its detections.

Shape shorthand: A cells, C classes, N detections.
"""

from __future__ import annotations

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torchvision.ops import nms

from smalldet.heads.yolox_cells import to_corners


def select_detections(
    decoded: Tensor,
    image_size: tuple[int, int],
    score_threshold: float,
    nms_threshold: float,
    max_detections: int | None = None,
) -> Instances:
    """The best class of each cell, those that score enough, without duplicates within a class.

    Args:
        decoded: (A, 5 + C) cxcywh in px, objectness, class confidences, both of 0 to 1.
        image_size: (height, width) of the image without its padding, px.
        score_threshold: least objectness · class confidence.
        nms_threshold: IoU above which the weaker of two boxes of a class goes.
        max_detections: best ones kept; None keeps all, as published.

    Returns:
        N detections, best first: ``pred_boxes`` (not clipped, as published), ``scores``
        (objectness · class confidence), ``pred_classes``, and the two factors as ``objectness``
        and ``class_confidence``, since published evaluations of RVT rank by the latter alone.
    """
    confidences, classes = decoded[:, 5:].max(dim=1)
    scores = decoded[:, 4] * confidences
    kept = (scores >= score_threshold).nonzero()[:, 0]
    kept = kept[scores[kept].sort(descending=True, stable=True).indices]
    boxes = to_corners(decoded[kept, :4])
    alone = class_aware_nms(boxes, scores[kept], classes[kept], nms_threshold)[:max_detections]
    kept = kept[alone]
    return Instances(
        image_size,
        pred_boxes=Boxes(boxes[alone]),
        scores=scores[kept],
        pred_classes=classes[kept],
        objectness=decoded[kept, 4],
        class_confidence=confidences[kept],
    )


def class_aware_nms(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
    """Indices, ascending, of the boxes (N, 4) xyxy that no better one of their class overlaps.

    As torchvision's ``batched_nms``, which, with few boxes, moves the classes apart by the largest
    coordinate: one huge box, as an untrained network gives, would cost all others their precision.
    """
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for label in classes.unique():
        members = (classes == label).nonzero()[:, 0]
        kept[members[nms(boxes[members], scores[members], threshold)]] = True
    return kept.nonzero()[:, 0]
