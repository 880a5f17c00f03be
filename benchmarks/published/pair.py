"""Our detector and the published RVT with the same weights, and recordings for both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.published.rvt import PublishedRVT
from smalldet.backbones.rvt.checkpoint import DETECTOR_NAMES
from smalldet.backbones.rvt.model import VARIANTS, MaxViTRNN
from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.pafpn import PAFPN

HEIGHT, WIDTH, CHANNELS = 360, 640, 20
CONFIDENCE, OVERLAP = 0.001, 0.45  # of the published evaluation
DETECTIONS = 200  # cells of a frame above that confidence
SETTLED = 20  # steps after which the states of random weights, too, change little
DEPTHS = {"tiny": 0.33, "small": 0.33, "base": 0.67}


def rvt_pair(
    variant: str, device: str = "cpu", **backbone: int
) -> tuple[RecurrentDetector, PublishedRVT]:
    """Random weights, with statistics and numbers of detections as after training."""
    torch.manual_seed(0)
    sizes = {**VARIANTS[variant], **backbone}
    neck = PAFPN(MaxViTRNN(**sizes), depth=DEPTHS[variant])
    head = YOLOXHead(num_classes=3, score_threshold=CONFIDENCE, nms_threshold=OVERLAP)
    detector = RecurrentDetector(neck, head)
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.5)
        enliven(detector)
    detector.to(device)
    published = PublishedRVT(
        {published_name(name): x for name, x in detector.state_dict(keep_vars=True).items()},
        sizes["dim_head"],
        sizes.get("patch_size", 4),
    )
    return detector, published


def enliven(detector: RecurrentDetector) -> None:
    """Set the statistics of the norms and the biases of the head by a frame of a long recording."""
    norms = [layer for layer in detector.modules() if isinstance(layer, nn.BatchNorm2d)]
    frame, state = counts(1)[0], None
    for _ in range(SETTLED):
        features, state = detector.backbone.bottom_up.step(frame, state)
    for norm in norms:
        norm.momentum = None  # an average over all frames seen
        norm.reset_running_stats()
    detector.head.outputs(detector.backbone.fuse(features)[0])
    outputs = detector.eval().head.outputs(detector.backbone.fuse(features)[0])[0]
    low, high = -30.0, 10.0
    for _ in range(40):  # by bisection
        shift = (low + high) / 2
        scores = (outputs[..., 4] + shift).sigmoid() * outputs[..., 5:].amax(-1).sigmoid()
        low, high = (low, shift) if (scores >= CONFIDENCE).sum() > DETECTIONS else (shift, high)
    for layer in detector.head.obj_preds:
        layer.bias += low


def counts(steps: int, streams: int = 1) -> Tensor:
    """(steps, streams, 20, 360, 640) uint8 with an event in every twentieth cell."""
    generator = torch.Generator().manual_seed(1)
    cells = torch.rand(steps, streams, CHANNELS, HEIGHT, WIDTH, generator=generator)
    return (cells < 0.05).to(torch.uint8)


def published_name(name: str) -> str:
    prefix = max((p for p in DETECTOR_NAMES if name.startswith(p)), key=len)
    return DETECTOR_NAMES[prefix] + name.removeprefix(prefix)
