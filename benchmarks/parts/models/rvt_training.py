"""Training of RVT-T: 2 streams of 5 steps, 3 of them labelled, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Call, Candidate, Row, compare
from benchmarks.published.pair import HEIGHT, WIDTH, counts, rvt_pair
from benchmarks.published.simota import Labels, losses
from benchmarks.saved import memory_row, saved_mb
from smalldet.heads.yolox_cells import to_centres

STREAMS, STEPS, LABELLED, OBJECTS = 2, 5, (0, 2, 4), 15
SPEED, GOAL = 1.16, 1.5  # times the published
MEMORY = 1.0  # published over ours
CHECKPOINTS = 2.0  # times less memory than without them


def rows() -> Iterator[Row]:
    """Time, and what is kept for the backward pass in MB (in the columns of ms)."""
    reference, candidate, parameters = training_calls()
    kept = [saved_mb(call, parameters) for call in (reference, candidate)]
    yield memory_row("RVT tiny, kept for backward, MB", *kept, MEMORY)
    step = {"RVT tiny, a training step": Candidate(candidate, SPEED, GOAL)}
    yield from compare(reference, step, rounds=5)
    kept = [saved_mb(*training_calls(patch_size=2, checkpoint=on)[1:]) for on in (False, True)]
    yield memory_row("patch 2, without / with checkpoints, MB", *kept, CHECKPOINTS)


def training_calls(**backbone: Any) -> tuple[Call, Call, list[Tensor]]:
    """A step of the published model and of ours, and the parameters of both."""
    detector, published = rvt_pair("tiny", **backbone)
    detector.train()
    published.training = True
    frames, samples = counts(STEPS, STREAMS), samples_of(counts(STEPS, STREAMS))
    parameters = list(detector.parameters())

    def candidate() -> None:
        detector.zero_grad()
        sum(detector(samples).values()).backward()

    def reference() -> None:
        detector.zero_grad()
        states: Any = [None] * 4
        rows, labels = [], []
        for step, events in enumerate(frames):
            features, states = published.backbone(events, states)
            if step in LABELLED:
                rows.append(features[1:])
                labels += [labels_of(sample, step) for sample in samples]
        levels = [torch.cat(level) for level in zip(*rows, strict=True)]
        outputs = published.outputs(published.fuse(levels))
        sum(losses(*outputs, labels).values()).backward()

    return reference, candidate, parameters


def samples_of(events: Tensor) -> list[dict[str, Any]]:
    """Chunks at the start of recordings, with objects of 8 to 64 px in the labelled steps."""
    generator = torch.Generator().manual_seed(2)

    def boxes() -> Tensor:
        middles = 32 + torch.rand(OBJECTS, 2, generator=generator) * torch.tensor(
            [WIDTH - 64, HEIGHT - 64]
        )
        halves = 4 * 8 ** torch.rand(OBJECTS, 2, generator=generator)
        return torch.cat([middles - halves, middles + halves], dim=1)

    return [
        {
            "events": events[:, stream],
            "boxes": [boxes() if step in LABELLED else None for step in range(STEPS)],
            "classes": [
                torch.randint(0, 3, (OBJECTS,), generator=generator) if step in LABELLED else None
                for step in range(STEPS)
            ],
            "is_first": True,
            "stream": stream,
        }
        for stream in range(events.shape[1])
    ]


def labels_of(sample: dict[str, Any], step: int) -> Labels:
    return Labels(to_centres(sample["boxes"][step]), sample["classes"][step])
