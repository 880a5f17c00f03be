"""A toy data set of recordings, its frames and sequence samples, and detectors of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from detectron2.structures import Boxes, Instances

from smalldet.data import register

HEIGHT, WIDTH = 360, 640  # network input; the sensor has twice as many pixels
CLASSES = ("Car", "Motorcycle", "Pedestrian")
CAR, MOTORCYCLE, PEDESTRIAN = 0, 1, 2
BOX = [50.0, 50.0, 100.0, 100.0]


@dataclass
class ToyMap:
    name: str = "toy3"
    classes: tuple[str, ...] = CLASSES
    small: tuple[int, ...] = (MOTORCYCLE, PEDESTRIAN)


@dataclass
class ToyRecording:
    name: str
    num_steps: int = 10
    downsample: str = "nearest"
    closed: bool = False
    left_out: Counter[str] = field(default_factory=Counter)

    def close(self) -> None:
        self.closed = True


class ToyRecordings:
    """Image ids 0 to 9 are steps of the first recording, 10 to 19 of the second."""

    splits = ("val",)

    def __init__(self, downsample: str, left_out: Counter[str]) -> None:
        self.name = f"toy_recordings_{downsample}_{left_out.total()}"
        names = ("day_1", "night_1")
        self.found = [ToyRecording(name, 10, downsample, left_out=left_out) for name in names]

    def records(self, split: str) -> list[ToyRecording]:
        return self.found

    def metadata(self, split: str) -> dict[str, Any]:
        return {"split": split, "class_map": ToyMap()}


def toy_recordings(downsample: str = "nearest", **left_out: int) -> str:
    """The registered name of recordings at this resolution, each without so many boxes."""
    return register(ToyRecordings(downsample, Counter(left_out)))["val"]


def frame(image_id: int, boxes=(), classes=(), timestamp_us: int = 1_000_000) -> dict[str, Any]:
    """A sequence sample of one labelled time, by default known to be empty."""
    time = torch.tensor([timestamp_us])
    return sample(image_id, [boxes], [classes]) | {"timestamps_us": time}


def found(boxes=(), scores=(), classes=(), confidence=None, size=(HEIGHT, WIDTH)) -> Instances:
    """Predictions in pixels of a frame of ``size``."""
    instances = Instances(size)
    instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.scores = torch.tensor(scores, dtype=torch.float32)
    instances.pred_classes = torch.tensor(classes, dtype=torch.int64)
    if confidence is not None:
        instances.class_confidence = torch.tensor(confidence, dtype=torch.float32)
    return instances


def show(evaluator, *pairs: tuple[dict[str, Any], Instances]) -> None:
    """Hand frames and their predictions to the evaluator."""
    outputs = [{"instances": i, "sample": n, "step": 0} for n, (_, i) in enumerate(pairs)]
    evaluator.process([f for f, _ in pairs], outputs)


def sample(first_id: int, boxes: list, classes: list) -> dict[str, Any]:
    """A sequence sample with one entry of ``boxes`` and ``classes`` a step; None: unlabelled."""
    ids = [first_id + t if b is not None else -1 for t, b in enumerate(boxes)]
    return {
        "events": torch.zeros(1, dtype=torch.uint8).expand(len(boxes), 20, HEIGHT, WIDTH),
        "boxes": [None if b is None else torch.tensor(b).reshape(-1, 4) for b in boxes],
        "classes": [None if k is None else torch.tensor(k, dtype=torch.int64) for k in classes],
        "image_ids": torch.tensor(ids),
        "timestamps_us": torch.arange(1, len(boxes) + 1) * 1_000_000,
        "is_first": True,
        "stream": 0,
    }
