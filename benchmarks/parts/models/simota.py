"""SimOTA and the losses: 8 frames with 30 objects each, 5,040 cells, 3 classes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor

from benchmarks.measure import Call, Candidate, Row, compare
from benchmarks.published import simota as published
from smalldet.heads.yolox_cells import grid_cells, to_centres
from smalldet.heads.yolox_losses import LossTerms, assign, count_matches, labelled

FRAMES, OBJECTS, CLASSES = 8, 30, 3
HEIGHT, WIDTH, STRIDES = 384, 640, (8, 16, 32)
SPEED = 3.0  # times the published
SMALL, MEDIUM = 1024.0, 9216.0


def rows() -> Iterator[Row]:
    """The losses alone, then with their gradients."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(HEIGHT // stride, WIDTH // stride) for stride in STRIDES]
    cells = grid_cells(sizes, STRIDES, torch.device("cpu"))
    outputs = torch.randn(FRAMES, len(cells), 5 + CLASSES, generator=generator)
    outputs[..., :4] /= 2
    outputs.requires_grad_()
    instances = [frame(generator) for _ in range(FRAMES)]
    labels = [published.Labels(to_centres(x.gt_boxes.tensor), x.gt_classes) for x in instances]

    terms = LossTerms((), {})

    def reference() -> Tensor:
        losses = published.losses(outputs, cells.indices, cells.strides, labels)
        return torch.stack(list(losses.values())).sum()

    def candidate() -> Tensor:
        objects = labelled(instances)
        found = assign(outputs, cells, objects, rescue_unmatched=False)
        sums = terms(outputs, cells, objects, found)
        number = count_matches(found, objects, SMALL, MEDIUM)[0]
        return torch.stack(list(sums.values())).sum() / number

    torch.testing.assert_close(reference(), candidate())
    name = "SimOTA + losses"
    yield from compare(reference, {name: Candidate(candidate, SPEED)}, rounds=25)
    name, ours = "SimOTA + losses, with backward", with_backward(candidate, outputs)
    yield from compare(with_backward(reference, outputs), {name: Candidate(ours, SPEED)}, 25)


def with_backward(loss: Call, outputs: Tensor) -> Call:
    return lambda: torch.autograd.grad(loss(), outputs)


def frame(generator: torch.Generator) -> Instances:
    """Objects of 8 to 64 px anywhere."""
    middles = torch.rand(OBJECTS, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    halves = 4 * 8 ** torch.rand(OBJECTS, 2, generator=generator)
    found = Instances((HEIGHT, WIDTH))
    found.gt_boxes = Boxes(torch.cat([middles - halves, middles + halves], dim=1))
    found.gt_classes = torch.randint(0, CLASSES, (OBJECTS,), generator=generator)
    return found
