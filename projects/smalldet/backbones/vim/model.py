"""Vision Mamba (ViM) as a detection backbone: one feature map at the patch stride.

Zhu et al., Vision Mamba: Efficient Visual Representation Learning with Bidirectional State Space
Model, 2024, arXiv 2401.09417. Parameter names equal those of the published weights.

Shape shorthand: B batch, (h, w) grid of patches, L tokens (h * w, plus 1 with the class token),
E embedding channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn

from smalldet.backbones.base import FeatureBackbone
from smalldet.backbones.vim.blocks import BidirectionalMixer, VimBlock
from smalldet.backbones.vim.checkpoint import load_vim_checkpoint
from smalldet.kernels.scan.backends import check_backend_name
from smalldet.layers.norms import RMSNorm
from smalldet.layers.rope import axial_rope_table

CLASS_TOKEN_PLACES = ("middle", "first", "none")
LAST_LAYERS = ("add", "add_norm", "none")


@BACKBONE_REGISTRY.register()
class VisionMamba(FeatureBackbone):
    """ViM by default as in ViM-Tiny (7 M parameters), for images of one fixed size.

    Args:
        img_size: pixels of the square input, or (height, width); multiples of ``patch_size``.
        patch_size: side of a patch in pixels, and the stride of the feature map.
        embed_dim: channels E.
        depth: number of blocks.
        d_state: states per channel of the selective scan.
        class_token: where the class token of pretraining stands in the sequence: "middle"
            (before patch h * w // 2), "first", or "none". The scans carry it into the tokens
            behind it, so a frozen backbone should keep it; its own row is dropped at the end.
        rope: whether each block turns its tokens by a rotary position embedding.
        divide_directions: whether the two scan directions are averaged (True) or added.
        pretrain_grid: patch rows of the (square) pretraining images; rope positions are squeezed
            into this range.
        last_layer: what becomes the feature: "add" the last block's output plus the residual
            stream, "add_norm" the same normalised, or "none" the last block's output alone.
        frozen: whether the backbone is not trained.
        trainable_layers: train only so many of the last blocks, and the norm behind them; what is
            before keeps neither gradients nor activations. None trains all, embeddings included.
        init_checkpoint: pretraining file that ``load_pretrained`` reads; "" keeps random weights.
        scan_backend: backend of the selective scan.
        out_feature: name of the feature map.

    Raises:
        ValueError: if a size or an option makes no sense.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 640,
        patch_size: int = 16,
        embed_dim: int = 192,
        depth: int = 24,
        d_state: int = 16,
        class_token: str = "middle",
        rope: bool = False,
        divide_directions: bool = True,
        pretrain_grid: int = 14,
        last_layer: str = "add",
        frozen: bool = False,
        trainable_layers: int | None = None,
        init_checkpoint: str = "",
        scan_backend: str = "auto",
        out_feature: str = "last_feat",
    ) -> None:
        super().__init__()
        _check_choice("class_token", class_token, CLASS_TOKEN_PLACES)
        _check_choice("last_layer", last_layer, LAST_LAYERS)
        if depth < 1:
            raise ValueError(f"ViM needs at least one block, got depth={depth}.")
        check_backend_name(scan_backend)  # an unknown name fails here, not at the first image
        self.grid = _patch_grid(img_size, patch_size)
        self.patch_size, self.embed_dim, self.out_feature = patch_size, embed_dim, out_feature
        self.class_token, self.last_layer = class_token, last_layer
        self.divide_directions, self.pretrain_grid = divide_directions, pretrain_grid
        self.init_checkpoint = init_checkpoint
        self.patch_embed = PatchEmbedding(patch_size, embed_dim)
        self.pos_embed = nn.Parameter(torch.empty(1, self.num_tokens, embed_dim))
        if class_token != "none":
            self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        self.layers = nn.ModuleList(
            VimBlock(
                embed_dim, BidirectionalMixer(embed_dim, d_state, divide_directions, scan_backend)
            )
            for _ in range(depth)
        )
        if last_layer == "add_norm":
            self.norm_f = RMSNorm(embed_dim)
        self._build_rope(rope)
        self._init_weights()
        if trainable_layers is not None:
            _check_trainable(trainable_layers, depth, frozen)
            self._train_last(trainable_layers)
        if frozen:
            self.freeze()

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the images that this model takes."""
        return self.grid[0] * self.patch_size, self.grid[1] * self.patch_size

    @property
    def class_slot(self) -> int | None:
        """Index of the class token in the sequence, None without one."""
        patches = self.grid[0] * self.grid[1]
        return {"middle": patches // 2, "first": 0, "none": None}[self.class_token]

    @property
    def num_tokens(self) -> int:
        return self.grid[0] * self.grid[1] + (self.class_token != "none")

    @property
    def rope(self) -> bool:
        return self.rope_cos is not None

    @property
    def size_divisibility(self) -> int:
        """The side of a square input, to which smaller images are so padded; else 0."""
        height, width = self.image_size
        return height if height == width else 0

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {self.out_feature: ShapeSpec(channels=self.embed_dim, stride=self.patch_size)}

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """The feature map (B, E, h, w) of normalised ``images`` (B, 3, H, W).

        Raises:
            ValueError: if the images are not of the configured size.
        """
        self._check_images(images)
        feature = self._last_layer(*self._blocks(self.tokens(images)))
        if self.class_slot is not None:
            feature = _drop_row(feature, self.class_slot)
        feature = feature.transpose(1, 2).unflatten(2, self.grid).contiguous()
        return {self.out_feature: feature}

    def tokens(self, images: Tensor) -> Tensor:
        """Patch embeddings, class token in its place, positions added: (B, L, E)."""
        x = self.patch_embed(images)
        if self.class_slot is not None:
            token = self.cls_token.expand(len(x), -1, -1).to(x.dtype)
            x = torch.cat([x[:, : self.class_slot], token, x[:, self.class_slot :]], dim=1)
        return x + self.pos_embed

    def load_pretrained(self) -> None:
        """Load ``init_checkpoint``; see :func:`load_vim_checkpoint` for the errors."""
        load_vim_checkpoint(self, self.init_checkpoint)

    def _train_last(self, count: int) -> None:
        """Freeze all but the last ``count`` blocks and the norm behind them."""
        self.requires_grad_(False)
        self.layers[-count:].requires_grad_(True)
        if self.last_layer == "add_norm":
            self.norm_f.requires_grad_(True)

    def _blocks(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        residual: Any = None
        table = None
        if self.rope_cos is not None and self.rope_sin is not None:
            table = (self.rope_cos, self.rope_sin)
        for layer in self.layers:
            hidden, residual = layer(hidden, residual, table)
        return hidden, residual

    def _last_layer(self, hidden: Tensor, residual: Tensor) -> Tensor:
        if self.last_layer == "none":
            return hidden
        total = hidden + residual
        return self.norm_f(total) if self.last_layer == "add_norm" else total

    def _build_rope(self, rope: bool) -> None:
        """Register the tables; not in the state dict, because they follow from the grid alone."""
        cos, sin = None, None
        if rope:
            cos, sin = axial_rope_table(self.grid, self.embed_dim, self.pretrain_grid)
            if self.class_slot is not None:  # the class token has no place on the grid: no turn
                row = cos.new_zeros(1, cos.shape[1])
                cos = torch.cat([cos[: self.class_slot], row + 1, cos[self.class_slot :]])
                sin = torch.cat([sin[: self.class_slot], row, sin[self.class_slot :]])
        self.register_buffer("rope_cos", cos, persistent=False)
        self.register_buffer("rope_sin", sin, persistent=False)

    @torch.no_grad()
    def _init_weights(self) -> None:
        """Initialise as the published classifier does before pretraining."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if self.class_slot is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)
        for layer in self.layers:
            projection: Any = layer.get_submodule("mixer.out_proj")
            projection.weight /= math.sqrt(len(self.layers))

    def _check_images(self, images: Tensor) -> None:
        height, width = self.image_size
        if images.dim() != 4 or tuple(images.shape[-2:]) != (height, width):
            raise ValueError(
                f"This ViM takes images of {height}x{width} pixels (height x width), but got a "
                f"batch of shape {tuple(images.shape)}. Resize or pad them in the data mapper, or "
                "set model.backbone.bottom_up.img_size to their size."
            )


class PatchEmbedding(nn.Module):
    """Non-overlapping patches, each mapped to one token by the same linear map."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)
        # LeCun normal: variance 1 / fan-in after the cut at two standard deviations (0.8796).
        std = (3 * patch_size**2) ** -0.5 / 0.87962566103423978
        nn.init.trunc_normal_(self.proj.weight, std=std, a=-2 * std, b=2 * std)
        assert self.proj.bias is not None
        nn.init.zeros_(self.proj.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens (B, h * w, E), row by row, of ``images`` (B, 3, H, W)."""
        return self.proj(images).flatten(2).transpose(1, 2)


def _drop_row(x: Tensor, row: int) -> Tensor:
    """``x`` (B, L, E) without token ``row``."""
    return torch.cat([x[:, :row], x[:, row + 1 :]], dim=1)


def _patch_grid(img_size: int | Sequence[int], patch_size: int) -> tuple[int, int]:
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if min(height, width) < patch_size or height % patch_size or width % patch_size:
        raise ValueError(
            f"img_size {height}x{width} (height x width) cannot be cut into patches of "
            f"{patch_size} pixels; both sides must be multiples of it."
        )
    return height // patch_size, width // patch_size


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}.")


def _check_trainable(layers: int, depth: int, frozen: bool) -> None:
    if frozen:
        raise ValueError(
            f"trainable_layers={layers} trains a part of ViM and frozen=True none of it. Set "
            "frozen=false, or trainable_layers=null to freeze all."
        )
    if not 1 <= layers <= depth:
        raise ValueError(
            f"trainable_layers={layers} of {depth} blocks; expected 1 to {depth}. For none of them "
            "set frozen=true and leave trainable_layers out."
        )
