"""``import smalldet`` alone makes our classes known to Detectron2."""

from __future__ import annotations

import importlib
import sys

import pytest
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY

import smalldet

OURS = {
    BACKBONE_REGISTRY: [
        "VisionMamba",
        "MaxViTRNN",
        "TimmBackbone",
        "SimpleFeaturePyramid",
        "PAFPN",
    ],
    META_ARCH_REGISTRY: ["ImageDetector", "RecurrentDetector"],
}
HEADS = ["RCNNHead", "YOLOXHead"]


@pytest.fixture
def not_imported_yet(monkeypatch) -> None:
    """Registries without our classes, and our modules forgotten; all come back afterwards."""
    for name in [name for name in sys.modules if name.split(".")[0] == smalldet.__name__]:
        monkeypatch.delitem(sys.modules, name)
    for registry in OURS:
        theirs = {n: c for n, c in registry if not c.__module__.startswith(smalldet.__name__)}
        monkeypatch.setattr(registry, "_obj_map", theirs)


def test_importing_smalldet_registers_all_classes(not_imported_yet):
    assert not any(name in registry for registry, names in OURS.items() for name in names)
    importlib.import_module(smalldet.__name__)
    for registry, names in OURS.items():
        assert [registry.get(name).__name__ for name in names] == names
    registry = importlib.import_module("smalldet.heads").HEAD_REGISTRY
    assert [registry.get(name).__name__ for name in HEADS] == HEADS
