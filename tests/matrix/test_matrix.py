"""Every backbone of ours with every head of ours: builds, trains a step, predicts.

A backbone or head that is registered without a row in the tables below fails here.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.utils.events import EventStorage

import smalldet.backbones
import smalldet.heads
import smalldet.necks
from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.backbones.timm import TimmBackbone
from smalldet.backbones.vim import VisionMamba
from smalldet.detectors.image import ImageDetector
from smalldet.heads.base import HEAD_REGISTRY
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.base import Neck
from smalldet.necks.pafpn import PAFPN
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid
from toy_detection import SCORE, gradients, labelled_image, rcnn_head

SIZE = 64  # px


def small_vim(**options: Any) -> VisionMamba:
    return VisionMamba(img_size=SIZE, embed_dim=32, depth=2, **options)


def small_vit() -> TimmBackbone:
    options = {"img_size": SIZE, "embed_dim": 48, "depth": 2}
    return TimmBackbone("vit_tiny_patch16_224", out_indices=(-1,), model_options=options)


def small_convnext() -> TimmBackbone:
    options = {"depths": (1, 1, 1, 1), "dims": (16, 32, 64, 128)}
    return TimmBackbone("convnext_tiny", model_options=options)


def small_resnet() -> TimmBackbone:
    options = {"layers": (1, 1, 1, 1)}
    return TimmBackbone("resnet50", out_indices=(1, 2, 3, 4), model_options=options)


def small_rvt() -> MaxViTRNN:
    return MaxViTRNN(embed_dim=16, dim_head=16, in_channels=3, partition_split=1)


def fpn(bottom_up: Backbone) -> FPN:
    """Detectron2's own pyramid over all features, with p6."""
    names = list(bottom_up.output_shape())
    return FPN(bottom_up, names, out_channels=32, top_block=LastLevelMaxPool())


def simple_pyramid(bottom_up: Backbone) -> SimpleFeaturePyramid:
    (name,) = bottom_up.output_shape()
    return SimpleFeaturePyramid(bottom_up, in_feature=name, out_channels=32)


# By registered name: ways to build it, as it is and under the necks that it is used with.
BACKBONES: dict[str, dict[str, Callable[[], Backbone]]] = {
    "VisionMamba": {
        "alone": small_vim,
        "simple pyramid": lambda: simple_pyramid(small_vim()),
        "frozen, simple pyramid": lambda: simple_pyramid(small_vim(frozen=True)),
        "last block, simple pyramid": lambda: simple_pyramid(small_vim(trainable_layers=1)),
    },
    "TimmBackbone": {
        "convnext_tiny alone": small_convnext,
        "convnext_tiny, FPN": lambda: fpn(small_convnext()),
        "resnet50, FPN": lambda: fpn(small_resnet()),
        "vit, simple pyramid": lambda: simple_pyramid(small_vit()),
    },
    "MaxViTRNN": {
        "alone": small_rvt,
        "PAFPN": lambda: PAFPN(small_rvt(), depth=0.33),
        "PAFPN, 4 levels, attention": lambda: PAFPN(
            small_rvt(), (1, 2, 3, 4), depth=0.33, enable_small_object_attention=True
        ),
    },
}
HEADS: dict[str, Callable[[], Any]] = {
    "RCNNHead": lambda: rcnn_head({SCORE: 0.0}),
    "YOLOXHead": lambda: YOLOXHead(num_classes=1, score_threshold=0.0),
}


def own_entries(registry: Iterable[tuple[str, Any]]) -> set[str]:
    """Names of what our packages registered, every module of theirs imported."""
    for package in (smalldet.backbones, smalldet.necks, smalldet.heads):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    return {name for name, entry in registry if entry.__module__.startswith("smalldet.")}


def is_neck(name: str) -> bool:
    entry = BACKBONE_REGISTRY.get(name)
    return isinstance(entry, type) and issubclass(entry, Neck)


def test_every_backbone_and_every_head_of_ours_has_a_row():
    assert {name for name in own_entries(BACKBONE_REGISTRY) if not is_neck(name)} == set(BACKBONES)
    assert own_entries(HEAD_REGISTRY) == set(HEADS)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("backbone", "way"), [(name, way) for name, ways in BACKBONES.items() for way in ways]
)
def test_trains_and_predicts(backbone: str, way: str, head: str):
    torch.manual_seed(0)
    model = ImageDetector(BACKBONES[backbone][way](), HEADS[head]())
    assert any(type(module) is BACKBONE_REGISTRY.get(backbone) for module in model.modules())
    assert type(model.head) is HEAD_REGISTRY.get(head)
    check_shapes(model.backbone)
    batch = [labelled_image(SIZE, SIZE, 2), labelled_image(SIZE, SIZE, 0, seed=1)]
    with EventStorage():
        losses = model(batch)
    assert losses and all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    reached = gradients(model)
    assert [name for name, grad in reached.items() if grad is None] == []
    assert all(grad.isfinite().all() for grad in reached.values())
    with torch.no_grad():
        outputs = model.eval()(batch)
    assert [output["instances"].image_size for output in outputs] == [(SIZE, SIZE)] * 2


def check_shapes(backbone: Backbone) -> None:
    """Declared channels and strides are the produced ones."""
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, SIZE, SIZE))
    declared = backbone.output_shape()
    assert set(features) == set(declared)
    for name, spec in declared.items():
        side = SIZE // spec.stride
        assert features[name].shape == (2, spec.channels, side, side), name
