"""YOLOX: the settings, and the decoupled anchor-free head that they build.

Ge et al., YOLOX: Exceeding YOLO Series in 2021, 2021, arXiv 2107.08430. Parameter names are those
of the published RVT checkpoints (``yolox_head.``). Boxes are in px of the network's input. Shape
shorthand: B frames, A cells over all levels, finest level first, row by row; C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor

from smalldet.heads.registry import HEAD_REGISTRY
from smalldet.heads.yolox_cells import decode_boxes
from smalldet.heads.yolox_detections import select_detections
from smalldet.heads.yolox_layers import YOLOXLayers
from smalldet.heads.yolox_losses import (
    COUNTS,
    LossSums,
    assign,
    count_matches,
    labelled,
    summed_losses,
)
from smalldet.losses.size_aware import (
    MEDIUM_AREA,
    SMALL_AREA,
    check_size_weights,
    compute_size_weights,
)

CLOSE = 0.999  # of the score threshold: cells near it are decoded, too, and then judged exactly


@dataclass
class YOLOX:
    """Settings of a YOLOX head; the defaults are those of the published RVT models.

    Attributes:
        num_classes: foreground classes.
        in_features: levels that it predicts on; None: all that the backbone or neck declares.
        width: channels inside the head; None: a quarter of the coarsest level's.
        depthwise: 3x3 convolutions are depthwise.
        activation: "silu", "relu" or "lrelu".
        use_l1: add an L1 loss of the box outputs.
        size_aware_loss: weigh the IoU loss of each positive cell by the size of its object; it is
            divided by the number of positive cells as before.
        size_aware_weight: weight of the smallest objects; large ones weigh 1.
        small_threshold: area in px² of the network's input; see ``compute_size_weights``. Objects
            are counted as small below it, also where no loss is weighed.
        medium_threshold: likewise.
        weight_type: "exponential", "step" or "linear".
        rescue_unmatched: give a positive cell to each object that SimOTA leaves without one.
        score_threshold: detections below this score are dropped; RVT was evaluated with 0.001.
        nms_threshold: IoU above which the weaker of two detections of a class goes.
        max_detections: best detections kept an image; None keeps all.
    """

    num_classes: int = 8
    in_features: Sequence[str] | None = None
    width: int | None = None
    depthwise: bool = False
    activation: str = "silu"
    use_l1: bool = False
    size_aware_loss: bool = False
    size_aware_weight: float = 2.0
    small_threshold: float = SMALL_AREA
    medium_threshold: float = MEDIUM_AREA
    weight_type: str = "exponential"
    rescue_unmatched: bool = False
    score_threshold: float = 0.1
    nms_threshold: float = 0.45
    max_detections: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_classes", "width", "max_detections"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; give at least 1.")
        check_size_weights(
            self.size_aware_weight, self.small_threshold, self.medium_threshold, self.weight_type
        )

    def build(self, input_shape: Mapping[str, ShapeSpec]) -> YOLOXHead:
        """Make the head for a backbone's ``output_shape()``.

        Raises:
            ValueError: ``in_features`` names a level that there is not.
        """
        return YOLOXHead(self, input_shape)

    def levels(self, input_shape: Mapping[str, ShapeSpec]) -> dict[str, ShapeSpec]:
        """Levels that are predicted on, finest first."""
        names = list(input_shape if self.in_features is None else self.in_features)
        if not names or not set(names) <= set(input_shape):
            raise ValueError(
                f"in_features is {names}, but there are the levels {', '.join(input_shape)}. "
                "Choose among these."
            )
        return {
            name: input_shape[name]
            for name in sorted(names, key=lambda name: input_shape[name].stride)
        }


@HEAD_REGISTRY.register()
class YOLOXHead(YOLOXLayers):
    """Losses and detections on top of the layers.

    ``losses`` divides by the positive cells of its own frames. Where an optimisation step has
    several calls (accumulation) or processes, the sum over all of them is known at the end only;
    so the step is wrapped: ``begin_step()``, every forward and backward pass with the losses
    added up unweighted, then gradients (and logged losses) times ``end_step()``. With DDP's mean
    over processes that is the gradient of one process with all frames.

    Args:
        settings: what to build.
        input_shape: channels and stride by level name, as a backbone declares them.
    """

    def __init__(self, settings: YOLOX, input_shape: Mapping[str, ShapeSpec]) -> None:
        super().__init__(
            settings.levels(input_shape),
            settings.num_classes,
            settings.width,
            settings.depthwise,
            settings.activation,
        )
        self.settings = settings
        self._step_counts: Tensor | None = None  # None outside of a step

    def losses(
        self, features: Mapping[str, Tensor], instances: Sequence[Instances]
    ) -> dict[str, Tensor]:
        """Losses by name, scalars: ``loss_iou``, ``loss_obj``, ``loss_cls`` (and ``loss_l1``).

        Divided by the number of positive cells, or, between ``begin_step`` and ``end_step``, not
        divided. The counts of the step, or of this call outside of one, go to Detectron2's open
        EventStorage, if any, as ``yolox/positives`` and so on (``COUNTS``); :meth:`loss_sums`
        returns them.

        Args:
            features: (B, channels, H / stride, W / stride) by level name.
            instances: B labelled frames with ``gt_boxes`` (xyxy_abs) and ``gt_classes``; a frame
                may be empty.

        Raises:
            ValueError: no frames, or more or fewer than instances; a class that there is not.
        """
        found = self.loss_sums(features, instances)
        if self._step_counts is not None:
            self._step_counts = self._step_counts + found.counts
            return found.sums
        _log_counts(found.counts)
        return found.divided()

    def loss_sums(self, features: Mapping[str, Tensor], instances: Sequence[Instances]) -> LossSums:
        """As :meth:`losses`, not divided, not logged, with its counts."""
        self._check(instances, len(next(iter(features.values()))))
        outputs, cells = self.outputs(features)
        chosen = self.settings
        with torch.autocast(outputs.device.type, enabled=False):
            objects = labelled(instances)
            found = assign(outputs, cells, objects, chosen.rescue_unmatched)
            weights = self._size_weights()
            sums = summed_losses(outputs, cells, objects, found, weights, chosen.use_l1)
            sizes = (chosen.small_threshold, chosen.medium_threshold)
            return LossSums(sums, count_matches(found, objects, *sizes))

    def begin_step(self) -> None:
        """From here to :meth:`end_step`, losses are sums, and positive cells are counted."""
        self._step_counts = self._no_counts()

    def end_step(self) -> Tensor:
        """What to multiply the step's gradients by; every process must call it.

        Returns:
            Scalar: number of processes / positive cells of the step in all processes (at least 1).

        Raises:
            RuntimeError: there was no ``begin_step()``.
        """
        if self._step_counts is None:
            raise RuntimeError("end_step() without begin_step(). Call that before the losses.")
        counts, self._step_counts = self._step_counts, None
        processes = 1
        if dist.is_available() and dist.is_initialized():
            processes = dist.get_world_size()
            dist.all_reduce(counts)
        _log_counts(counts)
        return processes / counts[0].clamp(min=1)

    def predict(
        self, features: Mapping[str, Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> list[Instances]:
        """Detections of B images; see ``select_detections`` for their fields.

        Args:
            features: as in :meth:`losses`.
            image_sizes: (height, width) of each image without its padding.

        Raises:
            RuntimeError: the head is in training mode, where it would blur its statistics.
        """
        if self.training:
            raise RuntimeError("predict() was called in training mode. Call eval() first.")
        chosen = self.settings
        outputs, cells = self.outputs(features)
        scores = outputs[..., 4].sigmoid() * outputs[..., 5:].amax(-1).sigmoid()
        candidates = scores >= CLOSE * chosen.score_threshold
        return [
            select_detections(
                _decoded(frame[rows], cells.indices[rows], cells.strides[rows]),
                (int(height), int(width)),
                chosen.score_threshold,
                chosen.nms_threshold,
                chosen.max_detections,
            )
            for frame, rows, (height, width) in zip(outputs, candidates, image_sizes, strict=True)
        ]

    def decode(self, features: Mapping[str, Tensor]) -> Tensor:
        """(B, A, 5 + C) float32: cxcywh in px, objectness, class confidences of 0 to 1."""
        outputs, cells = self.outputs(features)
        return _decoded(outputs, cells.indices, cells.strides)

    def _size_weights(self) -> partial[Tensor] | None:
        chosen = self.settings
        if not chosen.size_aware_loss:
            return None
        return partial(
            compute_size_weights,
            size_aware_weight=chosen.size_aware_weight,
            small_threshold=chosen.small_threshold,
            medium_threshold=chosen.medium_threshold,
            weight_type=chosen.weight_type,
        )

    def _no_counts(self) -> Tensor:
        device = next(self.parameters()).device
        return torch.zeros(len(COUNTS), dtype=torch.long, device=device)

    def _check(self, instances: Sequence[Instances], frames: int) -> None:
        if len(instances) == 0 or len(instances) != frames:
            raise ValueError(
                f"There are {len(instances)} instances for {frames} frames of features; give the "
                "features of the labelled frames only, and of at least one."
            )
        classes = torch.cat([labels.gt_classes for labels in instances])
        wrong = classes[(classes < 0) | (classes >= self.settings.num_classes)]
        if len(wrong) > 0:
            raise ValueError(
                f"A box has class {int(wrong[0])}, but num_classes={self.settings.num_classes}. "
                "Set it to the number of classes of the data."
            )


def _decoded(outputs: Tensor, indices: Tensor, strides: Tensor) -> Tensor:
    """As :meth:`YOLOXHead.decode`, of some cells (...)."""
    with torch.autocast(outputs.device.type, enabled=False):
        boxes = decode_boxes(outputs[..., :4], indices, strides)
        return torch.cat([boxes, outputs[..., 4:].sigmoid()], dim=-1)


def _log_counts(counts: Tensor) -> None:
    """Put them into Detectron2's EventStorage, if one is open."""
    try:
        storage = get_event_storage()
    except AssertionError:  # how Detectron2 says that none is
        return
    values = zip(COUNTS, counts.tolist(), strict=True)
    storage.put_scalars(**{f"yolox/{name}": value for name, value in values})
