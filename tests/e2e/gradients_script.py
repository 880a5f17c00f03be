"""One optimisation step of small models, in as many processes as start it; saves the gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from toys import ToyModel, sample

from smalldet.detectors.image import ImageDetector
from smalldet.engine.distributed import run_distributed
from smalldet.engine.run import parallel
from smalldet.engine.trainer import Trainer
from smalldet.heads.yolox import YOLOXHead
from toy_detection import PatchBackbone

TOTAL, MICRO = 8, 2


def detector() -> nn.Module:
    """A detector that draws nothing at random and normalises over no batch."""
    backbone = PatchBackbone({f"p{stride}": (8, stride) for stride in (8, 16, 32)})
    model = ImageDetector(backbone, YOLOXHead(num_classes=3, width=8))
    return FrozenBatchNorm2d.convert_frozen_batchnorm(model)


def image(n: int) -> dict[str, Any]:
    """Image n of 64 px; images have 0 to 3 objects, so the processes have different numbers."""
    generator = torch.Generator().manual_seed(n)
    corners = torch.rand(n % 4, 2, generator=generator) * 40
    boxes = torch.cat([corners, corners + 8 + 12 * torch.rand(n % 4, 2, generator=generator)], 1)
    classes = torch.arange(n % 4) % 3
    instances = Instances((64, 64), gt_boxes=Boxes(boxes), gt_classes=classes)
    return {"image": torch.rand(3, 64, 64, generator=generator) * 255, "instances": instances}


MODELS = {"means of each image": (ToyModel, sample), "sums over the step": (detector, image)}


class Loader:
    """The global batch 0..7, of which each process gets its own contiguous part."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def seek(self, samples_seen: int) -> None:
        pass

    def __iter__(self) -> Iterator[list[list[dict]]]:
        share = TOTAL // comm.get_world_size()
        mine = [self.make(comm.get_rank() * share + i) for i in range(share)]
        yield [mine[i : i + MICRO] for i in range(0, share, MICRO)]


def gradients(name: str) -> dict[str, Tensor]:
    """The gradient of one step, by parameter."""
    build, make = MODELS[name]
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(parallel(model), Loader(make), optimizer, total_batch_size=TOTAL)
    trainer._batches = iter(trainer.loader)
    with EventStorage(0) as trainer.storage:
        trainer.run_step()
    return {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}


def main(folder: str) -> None:
    """Write this process's gradients; those of all processes are the same."""
    found = {name: gradients(name) for name in MODELS}
    torch.save(found, Path(folder) / f"gradients{comm.get_rank()}.pth")


if __name__ == "__main__":
    run_distributed(main, sys.argv[1])
