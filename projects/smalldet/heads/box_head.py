"""Small changes to Detectron2's region heads: speed on CPUs, memory, coordinates under bf16."""

from __future__ import annotations

from typing import cast

import torch
from detectron2.layers import ROIAlign, ShapeSpec
from detectron2.modeling.poolers import (
    ROIPooler,
    assign_boxes_to_levels,
    convert_boxes_to_pooler_format,
)
from detectron2.modeling.roi_heads import FastRCNNConvFCHead
from detectron2.structures import Boxes
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recompute

from nativecode import UsesKernels
from smalldet.kernels import roi_align
from smalldet.layers.norms import ChannelLayerNorm


class FullPrecisionPooler(UsesKernels, ROIPooler):
    """Detectron2's pooler, in fp32 whatever the autocast; RoIAlign on a CPU by our kernel.

    Detectron2 casts the boxes to the dtype of the features. bf16 has 8 significant bits, so a
    corner beyond x = 256 px would move to a multiple of 2 px, beyond 512 px of 4 px: too much for
    objects of ten pixels.
    """

    kernels = (roi_align.KERNEL,)

    def forward(self, x: list[Tensor], box_lists: list[Boxes]) -> Tensor:
        """Pool (M, C, size, size) fp32 regions of M boxes (xyxy_abs, px of the network input)."""
        x = [features.float() for features in x]
        if not self._fits_kernel(x, box_lists):
            return super().forward(x, box_lists)
        if len(x) == 1:
            levels = torch.zeros(sum(map(len, box_lists)), dtype=torch.long)
        else:
            span = (self.min_level, self.max_level)
            canonical = (self.canonical_box_size, self.canonical_level)
            levels = assign_boxes_to_levels(box_lists, *span, *canonical)
        regions = convert_boxes_to_pooler_format(box_lists)
        return roi_align.align_regions(x, regions, levels, self._sampling)

    def _fits_kernel(self, x: list[Tensor], box_lists: list[Boxes]) -> bool:
        if len(x) != len(self.level_poolers) or len(box_lists) != len(x[0]):
            return False  # Detectron2 says what is wrong
        is_align = all(isinstance(pooler, ROIAlign) for pooler in self.level_poolers)
        return is_align and len(box_lists) > 0 and roi_align.fits_kernel(x)

    @property
    def _sampling(self) -> roi_align.Sampling:
        poolers = cast(list[ROIAlign], list(self.level_poolers))
        rows, columns = self.output_size
        scales = tuple(pooler.spatial_scale for pooler in poolers)
        how = (poolers[0].sampling_ratio, poolers[0].aligned)
        return roi_align.Sampling((rows, columns), scales, *how)


class ConvFCBoxHead(FastRCNNConvFCHead):
    """Detectron2's convolutions and linear layers per region, with layer norm and recomputation.

    Args:
        input_shape: channels, height and width of a pooled region.
        conv_dims: output channels of the 3x3 convolutions.
        fc_dims: output channels of the linear layers.
        conv_norm: "LN" over channels, which Detectron2 0.5 does not know; or another name of a
            norm of Detectron2.
        checkpoint: recompute the layers in the backward pass instead of keeping their
            activations: less memory, more time, the same numbers.
    """

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        conv_dims: list[int],
        fc_dims: list[int],
        conv_norm: str = "LN",
        checkpoint: bool = False,
    ) -> None:
        norm = ChannelLayerNorm if conv_norm == "LN" else conv_norm
        super().__init__(input_shape, conv_dims=conv_dims, fc_dims=fc_dims, conv_norm=norm)
        self.checkpoint = checkpoint

    def forward(self, x: Tensor) -> Tensor:
        """Features (M, fc_dim) of pooled regions ``x`` (M, C, size, size)."""
        if self.checkpoint and torch.is_grad_enabled():
            return cast(Tensor, recompute(super().forward, x, use_reentrant=False))
        return super().forward(x)
