"""What the tests of the YOLOX head share: golden files, features, labels."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, Instances
from torch import Tensor

from smalldet.heads.yolox import YOLOXHead
from smalldet.heads.yolox_cells import to_corners
from toy_detection import state_of

SIZE = (64, 96)  # px


def labels(boxes: Any, classes: Any = None, size: tuple[int, int] = SIZE) -> Instances:
    """Instances with ``boxes`` (xyxy) of class 0 unless ``classes`` are given."""
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    classes = [0] * len(boxes) if classes is None else classes
    targets = {"gt_boxes": Boxes(boxes), "gt_classes": torch.as_tensor(classes, dtype=torch.long)}
    return Instances(size, **targets)


def small_head(strides: tuple[int, ...] = (8, 16, 32), **chosen: Any) -> YOLOXHead:
    """A head of 3 classes over levels ``p<stride>`` of 8 channels."""
    torch.manual_seed(0)
    shapes = {f"p{stride}": ShapeSpec(channels=8, stride=stride) for stride in strides}
    return YOLOXHead(**{"num_classes": 3, "width": 8, **chosen}).build(shapes)


def features_of(head: YOLOXHead, frames: int, size: tuple[int, int] = SIZE) -> dict[str, Tensor]:
    """Random maps (frames, 8, h, w) that ask for gradients."""
    generator = torch.Generator().manual_seed(0)
    shapes = {k: (frames, 8, size[0] // s, size[1] // s) for k, s in head.strides.items()}
    return {
        name: torch.randn(shape, generator=generator, requires_grad=True)
        for name, shape in shapes.items()
    }


def official(meta: dict[str, Any], arrays: dict[str, Tensor], **chosen: Any) -> YOLOXHead:
    """Our head with the settings and the weights of a golden file."""
    sizes = zip(meta["in_channels"], meta["strides"], strict=True)
    shapes = {f"level{i}": ShapeSpec(channels=c, stride=s) for i, (c, s) in enumerate(sizes)}
    head = YOLOXHead(num_classes=meta["num_classes"], depthwise=meta["depthwise"], **chosen)
    head.build(shapes)
    head.load_state_dict(state_of(arrays, "sd/"))
    return head


def official_inputs(
    meta: dict[str, Any], arrays: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[Instances]]:
    """Features that ask for gradients, and labels, of a golden file."""
    features = {
        f"level{i}": arrays[f"in/feat{i}"].clone().requires_grad_()
        for i in range(len(meta["strides"]))
    }
    frames = zip(arrays["in/targets"], meta["n_gts"], strict=True)
    rows = [targets[:count] for targets, count in frames]
    return features, [labels(to_corners(x[:, 1:]), x[:, 0], tuple(meta["hw"])) for x in rows]
