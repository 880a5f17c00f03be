"""The ViM-Tiny backbone at 640 pixels, one image, inference."""

from __future__ import annotations

from collections.abc import Iterator

import timm
import torch

from benchmarks.measure import Call, Candidate, Row, compare
from smalldet.backbones.vim import VisionMamba
from smalldet.kernels.scan.backends import why_unusable

SIZE = 640  # px
WITH_COMPILER, WITHOUT_COMPILER = 21.0, 5.0
AGAINST_VIT, GOAL = 0.81, 1.25  # times the speed of ViT-Tiny


def rows() -> Iterator[Row]:
    """Against the same model with the sequential scan, and against timm's ViT-Tiny."""
    candidates = {"ViM-Tiny, chunked": Candidate(vim("chunked"), WITHOUT_COMPILER)}
    compiled = why_unusable("compiled", "cpu") is None
    if compiled:
        candidates["ViM-Tiny, compiled"] = Candidate(vim("compiled"), WITH_COMPILER)
    yield from compare(vim("reference"), candidates, rounds=3)
    if compiled:
        rival = {"ViM-Tiny, against ViT-Tiny": Candidate(vim("compiled"), AGAINST_VIT, GOAL)}
        yield from compare(vit(), rival, rounds=15)


def vim(backend: str, device: str = "cpu") -> Call:
    model = VisionMamba(SIZE, frozen=True, scan_backend=backend).to(device)
    image = picture().to(device)
    return lambda: model(image)


def vit(device: str = "cpu") -> Call:
    model = timm.create_model("vit_tiny_patch16_224", img_size=SIZE, num_classes=0)
    model, image = model.eval().to(device), picture().to(device)

    def call() -> None:
        with torch.no_grad():
            model(image)

    return call


def picture() -> torch.Tensor:
    return torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
