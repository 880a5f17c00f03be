"""The MaxViT-RNN backbone of RVT: attention in space, an LSTM in time, at four scales.

Gehrig and Scaramuzza, Recurrent Vision Transformers for Object Detection with Event Cameras, 2023,
arXiv 2212.05598. Parameter names equal those of the published weights.

Shape shorthand: B streams, (H, W) input in px padded as the model declares, p patch size, C
channels of a stage, (h, w) map of a stage, (P, Q) partition size in cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from smalldet.backbones.base import FeatureBackbone
from smalldet.backbones.rvt.checkpoint import BACKBONE_NAMES, load_rvt_checkpoint
from smalldet.layers.conv_lstm import ConvLSTM
from smalldet.layers.partition_attention import AttentionOptions, AttentionPair
from smalldet.layers.recurrent_stage import Downsample, Stage, StageState

# Arguments of MaxViTRNN for the published sizes.
VARIANTS: dict[str, dict[str, int]] = {
    "tiny": {"embed_dim": 32, "dim_head": 32},
    "small": {"embed_dim": 48, "dim_head": 24},
    "base": {"embed_dim": 64, "dim_head": 32},
}
PATCH_SIZES = (2, 4, 8)
PARTITION_SPLITS = (1, 2, 4)
NUM_STAGES = 4
PARTITION_UNIT = 32  # px; the padded input is (P, Q) * PARTITION_UNIT * partition_split
PUBLISHED_ATTENTION = AttentionOptions()

State = tuple[StageState | None, ...] | None  # one entry a stage


@BACKBONE_REGISTRY.register()
class MaxViTRNN(FeatureBackbone):
    """Four stages of overlapping downsampling, window and grid attention, and a ConvLSTM.

    The features ``stage1`` to ``stage4`` are the hidden states of the LSTMs, at strides p, 2 p,
    4 p, 8 p. Inputs are zero-padded at the bottom and right to a multiple of ``size_divisibility``
    (features cover the padded input), and the partition size follows from the padded input:
    (P, Q) = padded / (32 * partition_split), the same at all stages: (6, 10) for 384x640 px at
    split 2.
    The defaults are RVT-B; other published sizes are in ``VARIANTS``. Further options are those of
    the published code, checked against it.

    Args:
        embed_dim: channels of the first stage.
        dim_head: channels of an attention head.
        patch_size: stride p of the first stage, px: 2, 4 or 8.
        partition_split: windows along each side of the map of stride 32: 1, 2 or 4.
        in_channels: channels of the input: 20 of a stacked histogram (time bins * polarities), 10
            of a voxel grid (time bins).
        dim_multiplier: channels of each stage as multiples of ``embed_dim``.
        num_blocks: pairs of window and grid attention in each stage.
        overlap: whether the patches that are merged overlap.
        norm_affine: whether the norm behind the merging has weights.
        attention: further options of the attention blocks.
        dws_conv: a depthwise convolution in the LSTMs; the published models have none.
        dws_conv_only_hidden: it sees the hidden state only.
        dws_conv_kernel_size: its side in cells.
        enable_masking: have a learned token in the place of the tokens that a mask names.
        checkpoint: recompute the stages in the backward pass: less memory, more time, the same
            numbers.
        frozen: whether the backbone is not trained.
        init_checkpoint: published checkpoint that ``load_pretrained`` reads; "" keeps random
            weights.

    Raises:
        ValueError: if a size or an option makes no sense.
    """

    def __init__(
        self,
        embed_dim: int = 64,
        dim_head: int = 32,
        patch_size: int = 4,
        partition_split: int = 2,
        in_channels: int = 20,
        dim_multiplier: Sequence[int] = (1, 2, 4, 8),
        num_blocks: Sequence[int] = (1, 1, 1, 1),
        overlap: bool = True,
        norm_affine: bool = True,
        attention: AttentionOptions = PUBLISHED_ATTENTION,
        dws_conv: bool = False,
        dws_conv_only_hidden: bool = True,
        dws_conv_kernel_size: int = 3,
        enable_masking: bool = False,
        checkpoint: bool = False,
        frozen: bool = False,
        init_checkpoint: str = "",
    ) -> None:
        super().__init__()
        _check_sizes(patch_size, partition_split, dim_multiplier, num_blocks)
        self.patch_size, self.partition_split = patch_size, partition_split
        self.in_channels, self.checkpoint = in_channels, checkpoint
        self.init_checkpoint = init_checkpoint
        self.channels = tuple(embed_dim * multiplier for multiplier in dim_multiplier)
        self.strides = tuple(patch_size * 2**stage for stage in range(NUM_STAGES))
        self.stages = nn.ModuleList()
        for index, width in enumerate(self.channels):
            first = index == 0
            narrow = in_channels if first else self.channels[index - 1]
            factor = patch_size if first else 2
            self.stages.append(
                Stage(
                    Downsample(narrow, width, factor, overlap, norm_affine),
                    [
                        # Its input comes normalised from the downsampling.
                        AttentionPair(width, dim_head, attention, first_norm=block > 0)
                        for block in range(num_blocks[index])
                    ],
                    ConvLSTM(width, dws_conv, dws_conv_only_hidden, dws_conv_kernel_size),
                    enable_masking and first,
                )
            )
        if frozen:
            self.freeze()

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of ``stage1`` to ``stage4``, finest first."""
        return {
            f"stage{number}": ShapeSpec(channels=width, stride=stride)
            for number, (width, stride) in enumerate(
                zip(self.channels, self.strides, strict=True), start=1
            )
        }

    @property
    def size_divisibility(self) -> int:
        return PARTITION_UNIT * self.partition_split

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Features of the first step of a recording; ``images`` as in :meth:`step`."""
        return self.step(images)[0]

    def step(
        self, images: Tensor, state: State = None, token_mask: Tensor | None = None
    ) -> tuple[dict[str, Tensor], State]:
        """One time step of B streams.

        Args:
            images: (B, in_channels, H0, W0), events as uint8 or any floating type.
            state: what the last step returned; None, whole or for a stage, is zeros.
            token_mask: bool (B, H / p, W / p), over the padded input: the cells of the first
                stage whose content is replaced by the learned token (needs ``enable_masking``).

        Returns:
            The features (B, C, H / stride, W / stride) by name, and the state: for each stage
            (h, c), h being the feature itself and c float32 at least.

        Raises:
            ValueError: if input, state or mask do not fit the model or one another.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self._padded(images)
            size = self.partition_size((x.shape[-2], x.shape[-1]))
            states = self._per_stage(state)
            for index, stage in enumerate(self.stages):
                mask = token_mask if index == 0 else None
                states[index] = self._run(stage, x, states[index], size, mask)
                x = states[index][0]
        features = {name: s[0] for name, s in zip(self.output_shape(), states, strict=True)}
        return features, tuple(states)

    def partition_size(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """Cells (P, Q) of a window for an input (H0, W0) in px, padded or not yet."""
        multiple = self.size_divisibility
        return -(-input_size[0] // multiple), -(-input_size[1] // multiple)

    def load_pretrained(self) -> None:
        """Load ``init_checkpoint``; see :func:`load_rvt_checkpoint` for the errors."""
        load_rvt_checkpoint(self, self.init_checkpoint, BACKBONE_NAMES)

    def _run(self, stage: nn.Module, *inputs: Any) -> StageState:
        if not (self.checkpoint and torch.is_grad_enabled()):
            return stage(*inputs)
        hidden, cell = cast(StageState, recompute(stage, *inputs, use_reentrant=False))
        return hidden, cell

    def _per_stage(self, state: State) -> list[Any]:
        states = [None] * NUM_STAGES if state is None else list(state)
        if len(states) != NUM_STAGES:
            raise ValueError(
                f"The recurrent state has {len(states)} entries; this backbone needs (h, c) or "
                f"None for each of its {NUM_STAGES} stages. Is it another model's state?"
            )
        return states

    def _padded(self, images: Tensor) -> Tensor:
        """``images`` with zeros at the bottom and right, in the type of the weights or uint8."""
        if images.dim() != 4 or images.shape[1] != self.in_channels:
            raise ValueError(
                f"Expected a batch (streams, {self.in_channels} channels, height, width), got "
                f"{tuple(images.shape)}. A sequence is stepped through one time step at a time; "
                "for input of other channels set in_channels."
            )
        down, right = (-side % self.size_divisibility for side in images.shape[-2:])
        images = F.pad(images, (0, right, 0, down)) if down or right else images
        if images.dtype == torch.uint8:
            return images
        # Channels stand together in memory, and all layers keep it so.
        dtype = next(self.parameters()).dtype
        return images.to(dtype, memory_format=torch.channels_last)


def _check_sizes(
    patch_size: int, partition_split: int, dim_multiplier: Sequence[int], num_blocks: Sequence[int]
) -> None:
    if patch_size not in PATCH_SIZES or partition_split not in PARTITION_SPLITS:
        raise ValueError(
            f"patch_size={patch_size} and partition_split={partition_split} were given; there are "
            f"patch sizes {PATCH_SIZES} and splits {PARTITION_SPLITS}."
        )
    coarsest = patch_size * 2 ** (NUM_STAGES - 1)
    if PARTITION_UNIT * partition_split % coarsest:
        raise ValueError(
            f"With patch_size={patch_size} the last stage has stride {coarsest}, and padding to "
            f"{PARTITION_UNIT * partition_split} px does not fit it; set partition_split=2 or 4."
        )
    for name, values in (("dim_multiplier", dim_multiplier), ("num_blocks", num_blocks)):
        if len(values) != NUM_STAGES or min(values) < 1:
            raise ValueError(
                f"{name}={tuple(values)}: expected {NUM_STAGES} positive numbers, one a stage."
            )
