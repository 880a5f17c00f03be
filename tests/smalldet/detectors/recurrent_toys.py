"""Recordings, a neck with memory and a head that tells what it saw, for recurrent detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Self

import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.heads.base import Head
from smalldet.necks.base import Neck

CHANNELS, HEIGHT, WIDTH = 2, 30, 64
Batch = list[dict[str, Any]]


def small_rvt() -> MaxViTRNN:
    return MaxViTRNN(embed_dim=4, dim_head=2, in_channels=CHANNELS, partition_split=1)


class EchoNeck(Neck):
    """Adds half of what it gave the step before."""

    needs_every_step = True

    def fuse(self, features, state=None):
        past = state or [torch.zeros(())] * len(features)
        state = tuple(x + y / 2 for x, y in zip(features.values(), past, strict=True))
        return dict(zip(features, state, strict=True)), state

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self.bottom_up.output_shape()


class Witness(Head):
    """A head that remembers the features of each frame, by the class of its first box.

    Its loss is a mean over frames. Its detections are the whole frame, with a field of features.
    """

    def build(self, input_shape: Mapping[str, ShapeSpec]) -> Self:
        self.scales = nn.ParameterDict({name: nn.Parameter(torch.ones(())) for name in input_shape})
        self.seen: dict[int, Tensor] = {}
        self.calls: list[int] = []
        return self

    def losses(self, features: dict[str, Tensor], instances: Sequence[Instances]):
        rows = self._rows(features)
        assert len(rows) == len(instances)
        self.calls.append(len(rows))
        for row, frame in zip(rows, instances, strict=True):
            if len(frame):
                assert int(frame.gt_classes[0]) not in self.seen
                self.seen[int(frame.gt_classes[0])] = row.detach().clone()
        total = sum((x * self.scales[name]).sum() for name, x in features.items())
        return {"loss": total / len(rows)}

    def predict(self, features: dict[str, Tensor], image_sizes: Sequence[tuple[int, int]]):
        found = {"scores": torch.ones(1), "pred_classes": torch.zeros(1, dtype=torch.long)}
        boxes = (Boxes(torch.tensor([[0.0, 0, width, height]])) for height, width in image_sizes)
        return [
            Instances(size, pred_boxes=box, features=row[None], **found)
            for row, size, box in zip(self._rows(features), image_sizes, boxes, strict=True)
        ]

    def _rows(self, features: dict[str, Tensor]) -> Tensor:
        return torch.cat([x.flatten(1) for x in features.values()], dim=1)


def detector(backbone: nn.Module | None = None, seed: int = 0) -> RecurrentDetector:
    """A detector with a :class:`Witness`, in double precision."""
    torch.manual_seed(seed)
    return RecurrentDetector(backbone or small_rvt(), Witness()).double()


def recording(number: int, steps: int, labelled=None, size=(HEIGHT, WIDTH)) -> dict[str, Any]:
    """A recording whose step t is image 100 * number + t, with one box of that class.

    Of three steps the second is not labelled, or only those given are.
    """
    generator = torch.Generator().manual_seed(number)
    chosen = {t for t in range(steps) if t % 3 != 1} if labelled is None else set(labelled)
    ids = [100 * number + t if t in chosen else -1 for t in range(steps)]
    shape = (steps, CHANNELS, *size)
    return {
        "events": torch.randint(0, 11, shape, dtype=torch.uint8, generator=generator),
        "boxes": [None if i < 0 else torch.tensor([[4.0, 4, 20, 24]]) for i in ids],
        "classes": [None if i < 0 else torch.tensor([i]) for i in ids],
        "image_ids": torch.tensor(ids),
        "timestamps_us": torch.arange(steps) * 50_000,
        "padded": torch.zeros(steps, dtype=torch.bool),
    }


def chunks(whole: dict[str, Any], length: int, stream: int = 0) -> Batch:
    """A recording in samples of up to ``length`` steps."""
    return [
        {key: value[t : t + length] for key, value in whole.items()}
        | {"is_first": t == 0, "stream": stream}
        for t in range(0, len(whole["events"]), length)
    ]


def play(streams: Sequence[Batch], length: int, pad: bool = False) -> list[Batch]:
    """Batches of parallel streams, each of recordings one after the other.

    Where a recording or a stream has ended there are shorter or no samples, or padding.
    """
    rows = [
        [sample for whole in recordings for sample in chunks(whole, length, stream)]
        for stream, recordings in enumerate(streams)
    ]
    if not pad:
        return [[x for x in step if x is not None] for step in zip_longest(*rows)]
    return [
        [padded(sample, length, stream) for stream, sample in enumerate(step)]
        for step in zip_longest(*rows)
    ]


def padded(sample: dict[str, Any] | None, length: int, stream: int) -> dict[str, Any]:
    """``sample`` with steps of padding up to ``length``, or nothing but padding."""
    missing = length - (0 if sample is None else len(sample["events"]))
    padding = recording(0, missing, labelled=())
    padding["events"], padding["padded"] = padding["events"] * 0 + 7, ~padding["padded"]
    if sample is None:
        return padding | {"is_first": True, "stream": stream}
    return sample | {
        key: sample[key] + x if isinstance(x, list) else torch.cat([sample[key], x])
        for key, x in padding.items()
    }
