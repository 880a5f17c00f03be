"""YOLOX: a decoupled, anchor-free head.

Ge et al., YOLOX: Exceeding YOLO Series in 2021, 2021, arXiv 2107.08430, figure 2. Parameter names
are those of the published RVT checkpoints (``yolox_head.``). Boxes are in px of the network's
input. Shape shorthand: B frames, A cells over all levels, finest level first, row by row; C
classes; K class outputs, C or, with a balanced classifier, 2 C: its own come last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances
from torch import Tensor, nn

from smalldet.heads.base import HEAD_REGISTRY, Head, select_levels
from smalldet.heads.yolox_cells import Cells, decode_boxes, grid_cells
from smalldet.heads.yolox_detections import select_detections
from smalldet.heads.yolox_losses import (
    COUNTS,
    Assigned,
    LossSums,
    LossTerms,
    assign,
    count_matches,
    labelled,
    log_counts,
)
from smalldet.layers.conv_blocks import ConvBlock, spatial_block
from smalldet.layers.precision import without_autocast
from smalldet.layers.step_normalised import StepCounts, StepNormalised
from smalldet.losses.class_balance import ClassBalance
from smalldet.losses.iou import NWD_SIZE, likeness_of
from smalldet.losses.size_aware import MEDIUM_AREA, SMALL_AREA, check_size_weights

PRIOR = 0.01  # what objectness and classes start at, so that the many empty cells do not dominate
CLOSE = 0.999  # of the score threshold: cells near it are decoded, too, and then judged exactly


@HEAD_REGISTRY.register()
class YOLOXHead(Head, StepNormalised):
    """YOLOX, with losses that know of the size of objects; defaults are the published RVT models'.

    Each level has two branches: one for classes, one for boxes and objectness.
    ``losses`` divides by the positive cells of its own frames, or, in a step, of the whole step.

    Args:
        num_classes: foreground classes.
        in_features: levels that it predicts on; None: all that the backbone or neck declares.
        width: channels inside the head; None: a quarter of the coarsest level's.
        depthwise: 3x3 convolutions are depthwise.
        activation: "silu", "relu" or "lrelu".
        use_l1: add an L1 loss of the box outputs.
        iou_loss: "iou" (1 - IoU²), or 1 minus "giou", "diou", "ciou" or "nwd".
        classification_loss: "bce", or "focal" (alpha 0.25, gamma 2).
        size_aware_loss: weigh the losses of each positive cell by the size of its object; they are
            divided by the number of positive cells as before.
        size_aware_terms: which losses: "iou", "objectness", "classification".
        size_aware_weight: weight of the smallest objects; large ones weigh 1.
        small_threshold: area in px² of the network's input; see ``compute_size_weights``. Objects
            are counted as small below it, also where no loss is weighed.
        medium_threshold: likewise; exponential weights do without it.
        weight_type: "exponential", "step" or "linear".
        rescue_unmatched: give a positive cell to each object that SimOTA leaves without one.
        assignment_metric: how SimOTA compares boxes, "iou" or "nwd".
        nwd_size: px of the network's input, the constant of NWD; about the mean size of objects.
        balanced_classifier: a second classifier on the same features that learns from a random part
            of the positive cells, as many of each class (``ClassBalance``). Both are trained; the
            second one decides on classes and scores.
        score_threshold: detections below this score are dropped; RVT was evaluated with 0.001.
        nms_threshold: IoU above which the weaker of two detections of a class goes.
        max_detections: best detections kept an image; None keeps all.

    Attributes:
        strides: px, by level name.
        size_thresholds: areas in px² below which objects are small, and below which medium.

    Raises:
        ValueError: a count below 1, or an unknown name of a loss, term or weight.
    """

    def __init__(
        self,
        num_classes: int = 8,
        in_features: Sequence[str] | None = None,
        width: int | None = None,
        depthwise: bool = False,
        activation: str = "silu",
        use_l1: bool = False,
        iou_loss: str = "iou",
        classification_loss: str = "bce",
        size_aware_loss: bool = False,
        size_aware_terms: Sequence[str] = ("iou",),
        size_aware_weight: float = 2.0,
        small_threshold: float = SMALL_AREA,
        medium_threshold: float = MEDIUM_AREA,
        weight_type: str = "exponential",
        rescue_unmatched: bool = False,
        assignment_metric: str = "iou",
        nwd_size: float = NWD_SIZE,
        balanced_classifier: bool = False,
        score_threshold: float = 0.1,
        nms_threshold: float = 0.45,
        max_detections: int | None = None,
    ) -> None:
        super().__init__()
        _check_counts(num_classes=num_classes, width=width, max_detections=max_detections)
        weighting: dict[str, Any] = {
            "size_aware_weight": size_aware_weight,
            "small_threshold": small_threshold,
            "medium_threshold": medium_threshold,
            "weight_type": weight_type,
        }
        check_size_weights(**weighting)
        terms = size_aware_terms if size_aware_loss else ()
        balance = ClassBalance(num_classes) if balanced_classifier else None
        self.loss_terms = LossTerms(
            terms, weighting, iou_loss, classification_loss, use_l1, nwd_size, balance
        )
        self.overlap = likeness_of(assignment_metric, nwd_size)
        self.num_classes = num_classes
        self.in_features = in_features
        self.rescue_unmatched = rescue_unmatched
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.width, self.depthwise, self.activation = width, depthwise, activation
        self.size_thresholds = (small_threshold, medium_threshold)
        self._step = StepCounts()

    def build(self, input_shape: Mapping[str, ShapeSpec]) -> Self:
        """As :class:`Head`; the layers of each level, finest first."""
        levels = select_levels(input_shape, self.in_features, "in_features")
        self.strides = {name: int(shape.stride) for name, shape in levels.items()}
        channels = [shape.channels for shape in levels.values()]
        width = self.width or max(channels[-1] // 4, 1)
        activation = self.activation
        self.stems = nn.ModuleList(ConvBlock(n, width, 1, activation=activation) for n in channels)
        self.cls_convs = nn.ModuleList(_branch(width, self.depthwise, activation) for _ in levels)
        self.reg_convs = nn.ModuleList(_branch(width, self.depthwise, activation) for _ in levels)
        self.cls_preds = nn.ModuleList(nn.Conv2d(width, self.num_classes, 1) for _ in levels)
        self.reg_preds = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in levels)
        self.obj_preds = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in levels)
        second = levels if self.loss_terms.balance is not None else ()
        self.abc_preds = nn.ModuleList(nn.Conv2d(width, self.num_classes, 1) for _ in second)
        for layer in (*self.cls_preds, *self.abc_preds, *self.obj_preds):
            nn.init.constant_(cast(Tensor, layer.bias), -math.log((1 - PRIOR) / PRIOR))
        return self

    def outputs(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Cells]:
        """Raw outputs (B, A, 5 + K) float32: box, objectness, classes; and the A cells.

        Args:
            features: (B, channels, H / stride, W / stride) by level name.
        """
        maps = [self._level(level, features[name]) for level, name in enumerate(self.strides)]
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        cells = grid_cells(sizes, list(self.strides.values()), maps[0].device)
        return torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1), cells

    def losses(
        self, features: Mapping[str, Tensor], instances: Sequence[Instances]
    ) -> dict[str, Tensor]:
        """As :class:`Head`: ``loss_iou``, ``loss_obj``, ``loss_cls`` (``loss_l1``, ``loss_abc``).

        The counts of the step, or of this call outside of one, go to Detectron2's open
        EventStorage, if any, as ``yolox/positives`` and so on (``COUNTS``); :meth:`loss_sums`
        returns them.

        Raises:
            ValueError: no frames, or more or fewer than instances; a class that there is not.
        """
        found = self.loss_sums(features, instances)
        if self._step.counting:
            self._step.add(found.counts)
            return found.sums
        self._counted(found.counts)
        return found.divided()

    def loss_sums(self, features: Mapping[str, Tensor], instances: Sequence[Instances]) -> LossSums:
        """As :meth:`losses`, not divided, not logged, with its counts."""
        assigned = self.assign(features, instances)
        with torch.autocast(assigned.outputs.device.type, enabled=False):
            counts = count_matches(assigned.found, assigned.objects, *self.size_thresholds)
            balance = self.loss_terms.balance
            if balance is not None:
                learned = assigned.objects.classes[assigned.found.objects]
                counts = torch.cat([counts, balance.of_each(learned)])
            return LossSums(self.loss_terms(*assigned), counts)

    def assign(self, features: Mapping[str, Tensor], instances: Sequence[Instances]) -> Assigned:
        """Which cells learn which objects; arguments and errors as of :meth:`losses`."""
        self._check(instances, len(next(iter(features.values()))))
        outputs, cells = self.outputs(features)
        with torch.autocast(outputs.device.type, enabled=False):
            objects = labelled(instances)
            judged = outputs[..., : 5 + self.num_classes]
            found = assign(judged, cells, objects, self.rescue_unmatched, self.overlap)
        return Assigned(outputs, cells, objects, found)

    def begin_step(self) -> None:
        classes = 0 if self.loss_terms.balance is None else self.num_classes
        self._step.begin(next(self.parameters()).device, len(COUNTS) + classes)

    def end_step(self) -> Tensor:
        factor, counts = self._step.end()
        self._counted(counts)
        return factor

    def predict(
        self, features: Mapping[str, Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> list[Instances]:
        """As :class:`Head`; see ``select_detections`` for further fields."""
        self.require_eval()
        outputs, cells = self._deciding(features)
        scores = outputs[..., 4].sigmoid() * outputs[..., 5:].amax(-1).sigmoid()
        candidates = scores >= CLOSE * self.score_threshold
        return [
            select_detections(
                _decoded(frame[rows], cells.indices[rows], cells.strides[rows]),
                (int(height), int(width)),
                self.score_threshold,
                self.nms_threshold,
                self.max_detections,
            )
            for frame, rows, (height, width) in zip(outputs, candidates, image_sizes, strict=True)
        ]

    def decode(self, features: Mapping[str, Tensor]) -> Tensor:
        """(B, A, 5 + C) float32: cxcywh in px, objectness, class confidences of 0 to 1."""
        outputs, cells = self._deciding(features)
        return _decoded(outputs, cells.indices, cells.strides)

    def _deciding(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Cells]:
        """As :meth:`outputs`, (B, A, 5 + C), of the classifier that decides."""
        outputs, cells = self.outputs(features)
        if self.loss_terms.balance is not None:
            outputs = torch.cat([outputs[..., :5], outputs[..., -self.num_classes :]], dim=-1)
        return outputs, cells

    def _counted(self, counts: Tensor) -> None:
        """Log the counts of a step, and remember its classes if something is learned from it."""
        log_counts(counts[: len(COUNTS)])
        learns = self.training and torch.is_grad_enabled()  # losses on valid have the first alone
        if self.loss_terms.balance is not None and learns:
            self.loss_terms.balance.count(counts[len(COUNTS) :])

    def _level(self, level: int, x: Tensor) -> Tensor:
        """(B, 5 + K, h, w) float32."""
        x = self.stems[level](x)
        boxes, classes = self.reg_convs[level](x), self.cls_convs[level](x)
        # These few channels cost nothing, and in half precision small boxes would lose their place.
        with without_autocast(x.device):
            dtype = self.reg_preds[level].weight.dtype
            boxes, classes = boxes.to(dtype), classes.to(dtype)
            found = [self.reg_preds[level](boxes), self.obj_preds[level](boxes)]
            found += [preds[level](classes) for preds in (self.cls_preds, self.abc_preds) if preds]
            return torch.cat(found, dim=1).float()

    def _check(self, instances: Sequence[Instances], frames: int) -> None:
        if len(instances) == 0 or len(instances) != frames:
            raise ValueError(
                f"There are {len(instances)} instances for {frames} frames of features; give the "
                "features of the labelled frames only, and of at least one."
            )
        classes = torch.cat([labels.gt_classes for labels in instances])
        wrong = classes[(classes < 0) | (classes >= self.num_classes)]
        if len(wrong) > 0:
            raise ValueError(
                f"A box has class {int(wrong[0])}, but num_classes={self.num_classes}. "
                "Set it to the number of classes of the data."
            )


def _branch(width: int, depthwise: bool, activation: str) -> nn.Sequential:
    block = spatial_block(depthwise)
    return nn.Sequential(*(block(width, width, 3, activation=activation) for _ in range(2)))


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; give at least 1.")


def _decoded(outputs: Tensor, indices: Tensor, strides: Tensor) -> Tensor:
    """As :meth:`YOLOXHead.decode`, of some cells (...)."""
    with without_autocast(outputs.device):
        boxes = decode_boxes(outputs[..., :4], indices, strides)
        return torch.cat([boxes, outputs[..., 4:].sigmoid()], dim=-1)
