"""What detectors of single images and of recordings have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from detectron2.modeling.backbone import Backbone
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn
from torch.nn import functional as F

from smalldet.heads.base import Head


class Frame(NamedTuple):
    """One time step of one sample of a batch."""

    sample: int
    step: int


class HeadInputs(NamedTuple):
    """What a head learns from.

    Attributes:
        features: (B, channels, h, w) by level name.
        targets: ``gt_boxes`` (xyxy_abs, px of the network's input) and ``gt_classes`` of B frames.
        frames: which ones of the batch they are.
    """

    features: dict[str, Tensor]
    targets: list[Instances]
    frames: list[Frame]


class Detector(nn.Module):
    """A backbone (with its neck, if any) and the head that is built for its levels.

    Args:
        backbone: any Detectron2 backbone.
        head: any head; its layers are made here.
    """

    backbone: Any  # a Backbone; with step() in a recurrent detector

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head.build(backbone.output_shape())

    @abstractmethod
    def head_inputs(self, samples: Any) -> HeadInputs:
        """What the head learns from in training, of a batch as :meth:`forward` takes it."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def padded_batch(images: Sequence[Tensor], backbone: Backbone) -> ImageList:
    """One (B, 3, H, W) tensor of ``images`` (3, h, w), zeros added at the bottom and right.

    The sides are those of the largest image, rounded up to the multiple or raised to the square
    that ``backbone`` declares.
    """
    # Backbones of Detectron2 0.5 have no such property.
    wanted = getattr(backbone, "padding_constraints", {})
    multiple = max(wanted.get("size_divisibility", backbone.size_divisibility), 1)
    least = wanted.get("square_size", 0)
    sizes = [(x.shape[-2], x.shape[-1]) for x in images]
    height, width = (
        -(-max(least, *(size[axis] for size in sizes)) // multiple) * multiple for axis in (0, 1)
    )
    padded = [F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2])) for x in images]
    return ImageList(torch.stack(padded), sizes)
