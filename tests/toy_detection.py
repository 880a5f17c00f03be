"""The smallest backbones, settings and inputs that a detector can be tried with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import LazyConfig
from detectron2.layers import ShapeSpec
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.backbone import Backbone
from detectron2.structures import Boxes, Instances
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from smalldet.backbones.base import FeatureBackbone
from smalldet.detectors.image import IMAGENET_MEAN, IMAGENET_STD
from smalldet.heads.rcnn import RCNNHead

GOLDEN = Path(__file__).parent / "golden"
CASCADE = Path(__file__).parents[1] / "configs/common/models/cascade_rcnn.py"


class PatchBackbone(FeatureBackbone):
    """One strided convolution a level; ``loads`` counts the calls of ``load_pretrained``."""

    def __init__(self, levels: dict[str, tuple[int, int]]) -> None:
        super().__init__()
        self.levels = levels
        self.convs = nn.ModuleDict(
            {name: nn.Conv2d(3, width, stride, stride) for name, (width, stride) in levels.items()}
        )
        self.loads = 0

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        return {name: conv(images) for name, conv in self.convs.items()}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {
            name: ShapeSpec(channels=width, stride=stride)
            for name, (width, stride) in self.levels.items()
        }

    def load_pretrained(self) -> None:
        self.loads += 1

    @property
    def size_divisibility(self) -> int:
        return max(stride for _, stride in self.levels.values())


def one_map(channels: int = 16, stride: int = 16) -> PatchBackbone:
    """A backbone with the single map ``last_feat``."""
    return PatchBackbone({"last_feat": (channels, stride)})


def pyramid(channels: int = 16) -> PatchBackbone:
    """A backbone with p2 to p6 of equal channels."""
    return PatchBackbone({f"p{level}": (channels, 2**level) for level in range(2, 7)})


QUICK = {
    "proposal_generator.batch_size_per_image": 32,
    "proposal_generator.pre_nms_topk": [60, 40],
    "proposal_generator.post_nms_topk": [40, 20],
    "roi_heads.batch_size_per_image": 24,
    "roi_heads.box_heads.0.conv_dims": [16],
    "roi_heads.box_heads.0.fc_dims": [32],
}
SCORE = "roi_heads.box_predictors.0.test_score_thresh"
RECOMPUTED = "roi_heads.box_heads.0.checkpoint"


def rcnn_parts(changes: Mapping[str, Any]) -> DictConfig:
    """Cascade R-CNN as the configs have it, but for ``changes`` by dotted key."""
    names = ("proposal_generator", "roi_heads")
    parts = dict(zip(names, LazyConfig.load(str(CASCADE), names), strict=True))
    parts = OmegaConf.create(parts, flags={"allow_objects": True})
    for key, value in changes.items():
        OmegaConf.update(parts, key, value)
    return parts


def rcnn_head(changes: Mapping[str, Any] | None = None, projected_channels: int = 256) -> RCNNHead:
    """A quick Cascade R-CNN head, but for ``changes``."""
    return RCNNHead(rcnn_parts({**QUICK, **(changes or {})}), projected_channels)


def generalized_rcnn(backbone: Backbone, head: RCNNHead) -> GeneralizedRCNN:
    """Detectron2's own meta architecture with the parts of ``head``."""
    head.build(backbone.output_shape())
    return GeneralizedRCNN(
        backbone=backbone,
        proposal_generator=head.proposal_generator,
        roi_heads=head.roi_heads,
        pixel_mean=IMAGENET_MEAN,
        pixel_std=IMAGENET_STD,
    )


def labelled_image(height: int, width: int, boxes: int, seed: int = 0) -> dict[str, Any]:
    """A Detectron2 input with random pixels and ``boxes`` squares of 16 px of class 0."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(boxes, 2, generator=generator) * torch.tensor([width - 16, height - 16])
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.cat([corner, corner + 16], dim=1))
    instances.gt_classes = torch.zeros(boxes, dtype=torch.long)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    return {"image": image, "instances": instances, "height": height, "width": width}


def golden(name: str) -> dict[str, Tensor]:
    """Arrays of one golden file as tensors."""
    with np.load(GOLDEN / name) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def rvt_golden(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a golden file of RVT says of itself, lists of names included, and its numbers."""
    with np.load(GOLDEN / "rvt" / f"{name}.npz") as file:
        arrays = dict(file)
    texts = {key: x.tolist() for key, x in arrays.items() if x.dtype.kind == "U"}
    kept = ((key, x) for key, x in arrays.items() if x.dtype.kind in "fiub")
    numbers = {key: torch.from_numpy(x) for key, x in kept}
    return json.loads(texts.pop("meta_json")) | texts, numbers


def state_of(arrays: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The state dict stored in a golden file under ``prefix``."""
    return {
        key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)
    }


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected magnitude."""
    assert found.shape == expected.shape
    found, expected = found.detach().double(), expected.double()
    return ((found - expected).abs().max() / expected.abs().max()).item()


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    """Gradient of every trainable parameter by name."""
    return {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
