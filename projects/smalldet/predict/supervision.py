"""Detections for supervision (extra ``supervision``): its annotators, trackers and zones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from detectron2.structures import Instances

if TYPE_CHECKING:
    from supervision import Detections


def to_supervision(found: Instances, class_names: Sequence[str] = ()) -> Detections:
    """``Instances`` of a predictor as ``supervision.Detections``.

    Args:
        found: with ``pred_boxes`` (xyxy_abs), ``scores`` and ``pred_classes``.
        class_names: by class id, as the predictor's; they become ``data["class_name"]``.

    Returns:
        ``xyxy`` (N, 4) in the same px, ``confidence`` (N,) and ``class_id`` (N,).

    Raises:
        IndexError: a class has no name.
    """
    from supervision import Detections

    classes = found.pred_classes.cpu().numpy().astype(int)
    return Detections(
        xyxy=found.pred_boxes.tensor.cpu().numpy(),
        confidence=found.scores.cpu().numpy(),
        class_id=classes,
        data={"class_name": np.array(class_names, str)[classes]} if len(class_names) else {},
    )
