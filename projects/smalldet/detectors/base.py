"""What detectors of single images and of recordings have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.modeling.backbone import Backbone
from detectron2.structures import ImageList
from torch import Tensor, nn
from torch.nn import functional as F

from smalldet.heads.base import Head


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
