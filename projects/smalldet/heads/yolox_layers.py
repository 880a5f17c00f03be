"""The layers of the YOLOX head, under the parameter names of the published RVT checkpoints.

Ge et al., YOLOX, 2021, arXiv 2107.08430, figure 2. Shape shorthand: B frames, A cells over all
levels, finest level first, row by row; C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from smalldet.heads.base import Head
from smalldet.heads.yolox_cells import Cells, grid_cells
from smalldet.layers.conv_blocks import ConvBlock, spatial_block

PRIOR = 0.01  # what objectness and classes start at, so that the many empty cells do not dominate


class YOLOXLayers(Head):
    """Two branches a level: one for classes, one for boxes and objectness.

    Attributes:
        strides: px, by level name.
    """

    def add_layers(
        self,
        levels: Mapping[str, ShapeSpec],
        num_classes: int,
        width: int | None = None,
        depthwise: bool = False,
        activation: str = "silu",
    ) -> None:
        """Make the layers.

        Args:
            levels: channels and stride by level name, finest first.
            num_classes: C.
            width: channels inside; None: a quarter of the coarsest level's, as published.
            depthwise: 3x3 convolutions are depthwise.
            activation: "silu", "relu" or "lrelu".
        """
        self.strides = {name: int(shape.stride) for name, shape in levels.items()}
        channels = [shape.channels for shape in levels.values()]
        width = width or max(channels[-1] // 4, 1)
        self.stems = nn.ModuleList(ConvBlock(n, width, 1, activation=activation) for n in channels)
        self.cls_convs = nn.ModuleList(_branch(width, depthwise, activation) for _ in levels)
        self.reg_convs = nn.ModuleList(_branch(width, depthwise, activation) for _ in levels)
        self.cls_preds = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for _ in levels)
        self.reg_preds = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in levels)
        self.obj_preds = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in levels)
        for layer in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(cast(Tensor, layer.bias), -math.log((1 - PRIOR) / PRIOR))

    def outputs(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Cells]:
        """Raw outputs (B, A, 5 + C) float32: box, objectness, classes; and the A cells.

        Args:
            features: (B, channels, H / stride, W / stride) by level name.
        """
        maps = [self._level(level, features[name]) for level, name in enumerate(self.strides)]
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        cells = grid_cells(sizes, list(self.strides.values()), maps[0].device)
        return torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1), cells

    def _level(self, level: int, x: Tensor) -> Tensor:
        """(B, 5 + C, h, w) float32."""
        x = self.stems[level](x)
        boxes, classes = self.reg_convs[level](x), self.cls_convs[level](x)
        # These few channels cost nothing, and in half precision small boxes would lose their place.
        with torch.autocast(x.device.type, enabled=False):
            dtype = self.reg_preds[level].weight.dtype
            boxes, classes = boxes.to(dtype), classes.to(dtype)
            found = [self.reg_preds[level](boxes), self.obj_preds[level](boxes)]
            return torch.cat([*found, self.cls_preds[level](classes)], dim=1).float()


def _branch(width: int, depthwise: bool, activation: str) -> nn.Sequential:
    block = spatial_block(depthwise)
    return nn.Sequential(*(block(width, width, 3, activation=activation) for _ in range(2)))
