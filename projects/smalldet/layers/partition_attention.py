"""Attention inside windows and across a sparse grid, both linear in the size of the map.

Tu et al., MaxViT, 2022, arXiv 2204.01697, figure 3, without its relative position bias, as in
Gehrig and Scaramuzza, Recurrent Vision Transformers, 2023, arXiv 2212.05598. Parameter names are
the published ones.

Shape shorthand: B batch, (H, W) map, C channels, (P, Q) partition size, N groups (B H W / P Q),
L tokens of a group (P Q), D channels of a head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, cast

import torch.nn.functional as F
from torch import Tensor, nn

from nativecode import UsesKernels
from smalldet.kernels import feed_forward, group_attention
from smalldet.kernels.cached_tensor import CachedTensor
from smalldet.kernels.onednn import Linear
from smalldet.layers.feed_forward import FeedForward, LayerScale

Size = tuple[int, int]

# Axes of the map cut up as (B, a, b, c, d, C), reordered so that a group's tokens stand together.
# Windows are cut as (B, H/P, P, W/Q, Q, C), grids as (B, P, H/P, Q, W/Q, C).
_WINDOW_ORDER = (0, 1, 3, 2, 4, 5)
_GRID_ORDER = (0, 2, 4, 1, 3, 5)
_GRID_BACK = (0, 3, 1, 4, 2, 5)


@dataclass(frozen=True)
class AttentionOptions:
    """What the blocks of a model have in common; the defaults are those of all released models.

    The other values are in the published code, too, and checked against it, so that models that
    others have trained with them load.

    Attributes:
        attention_bias: whether the two linear layers of the attention add a bias.
        use_torch_mha: PyTorch's multi-head attention, whose weights are laid out otherwise.
        mlp_ratio: hidden channels of the feed-forward layer as a multiple of C.
        mlp_activation: "gelu", "silu" or "relu".
        mlp_gated: multiply by a second, activated half (see FeedForward).
        mlp_bias: whether its linear layers add a bias.
        ls_init_value: first value of the learned gain on each branch; 0: no gain at all.
    """

    attention_bias: bool = True
    use_torch_mha: bool = False
    mlp_ratio: float = 4
    mlp_activation: str = "gelu"
    mlp_gated: bool = False
    mlp_bias: bool = True
    ls_init_value: float = 1e-5


def partition(x: Tensor, size: Size, grid: bool = False) -> Tensor:
    """Group the tokens of a map (B, H, W, C) into (N, L, C).

    A window is a tile of P x Q neighbours. A grid group holds P x Q tokens at a spacing of
    H / P rows and W / Q columns, so it spans the whole map.

    Raises:
        ValueError: the map cannot be divided.
    """
    check_size(x, size)
    rows, columns = size
    if grid:
        x = x.unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).permute(_GRID_ORDER)
    else:
        x = x.unflatten(2, (-1, columns)).unflatten(1, (-1, rows)).permute(_WINDOW_ORDER)
    return x.reshape(-1, rows * columns, x.shape[-1])


def unpartition(groups: Tensor, map_size: Size, size: Size, grid: bool = False) -> Tensor:
    """The map (B, H, W, C) of ``groups`` (N, L, C): the inverse of :func:`partition`."""
    (height, width), (rows, columns) = map_size, size
    shape = (-1, height // rows, width // columns, rows, columns, groups.shape[-1])
    order = _GRID_BACK if grid else _WINDOW_ORDER
    return groups.reshape(shape).permute(order).reshape(-1, height, width, groups.shape[-1])


def check_size(x: Tensor, size: Size) -> None:
    """ValueError unless a map (B, H, W, C) can be cut into groups of ``size`` (P, Q)."""
    (_, height, width, _), (rows, columns) = x.shape, size
    if height % rows or width % columns:
        raise ValueError(
            f"A map of {height}x{width} cells cannot be cut into groups of {rows}x{columns} "
            "(height x width); pad the input to the model's size_divisibility."
        )


class SelfAttention(UsesKernels, nn.Module):
    """Multi-head self-attention whose channels are ordered head by head: q, k, v of head 0, ...

    Args:
        dim: channels C.
        dim_head: channels D of a head, a divisor of C.
        bias: whether the linear layers add one.

    Raises:
        ValueError: C is no multiple of D.
    """

    kernels = (group_attention.KERNEL,)

    def __init__(self, dim: int, dim_head: int = 32, bias: bool = True) -> None:
        super().__init__()
        self.heads = count_heads(dim, dim_head)
        self.qkv = Linear(dim, 3 * dim, bias=bias)
        self.proj = Linear(dim, dim, bias=bias)

    def forward(self, x: Tensor, size: Size, grid: bool) -> Tensor:
        """Attention inside each group of a map (B, H, W, C)."""
        return self.proj(self.attend(x, size, grid))

    def attend(self, x: Tensor, size: Size, grid: bool) -> Tensor:
        """The same without the last linear layer."""
        if group_attention.fits_kernel(x):
            check_size(x, size)
            qkv = self.qkv(x).unflatten(-1, (self.heads, 3, -1))
            return group_attention.attend_in_groups(qkv, size, grid)
        groups = partition(x, size, grid)
        qkv = self.qkv(groups).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        out = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))  # each (N, heads, L, D)
        groups = out.transpose(1, 2).flatten(2)
        return unpartition(groups, (x.shape[1], x.shape[2]), size, grid)


class TorchSelfAttention(nn.Module):
    """The same through PyTorch's module, whose channels are all q, then all k, then all v."""

    def __init__(self, dim: int, dim_head: int = 32, bias: bool = True) -> None:
        super().__init__()
        heads = count_heads(dim, dim_head)
        self.mha = nn.MultiheadAttention(dim, heads, bias=bias, batch_first=True)

    def forward(self, x: Tensor, size: Size, grid: bool) -> Tensor:
        """Attention inside each group of a map (B, H, W, C)."""
        groups = partition(x, size, grid)
        groups = self.mha(groups, groups, groups, need_weights=False)[0]
        return unpartition(groups, (x.shape[1], x.shape[2]), size, grid)


class PartitionAttention(UsesKernels, nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)), with a gain on each branch.

    In inference each half is one kernel where the options are those of released models.

    Args:
        dim: channels C.
        dim_head: channels of a head.
        options: what the blocks of the model have in common.
        grid: attend across the grid instead of inside windows.
        first_norm: False where the input is normalised already.
    """

    kernels = (feed_forward.KERNEL,)

    def __init__(
        self,
        dim: int,
        dim_head: int,
        options: AttentionOptions,
        grid: bool = False,
        first_norm: bool = True,
    ) -> None:
        super().__init__()
        self.grid = grid
        self._usual = replace(options, ls_init_value=1e-5) == AttentionOptions()
        self._usual &= bool(options.ls_init_value)
        self._packed_attention, self._packed_mlp = CachedTensor(), CachedTensor()
        attention = TorchSelfAttention if options.use_torch_mha else SelfAttention
        self.norm1 = nn.LayerNorm(dim) if first_norm else nn.Identity()
        self.self_attn = attention(dim, dim_head, options.attention_bias)
        self.ls1 = _gain(dim, options)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(
            dim, options.mlp_ratio, options.mlp_activation, options.mlp_gated, options.mlp_bias
        )
        self.ls2 = _gain(dim, options)

    def train(self, mode: bool = True) -> Self:
        for packed in (self._packed_attention, self._packed_mlp):
            packed.clear()
        return super().train(mode)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Map (B, H, W, C) -> map, with groups of ``size`` (P, Q)."""
        return self._add_mlp(self._add_attention(x, size))

    def _add_attention(self, x: Tensor, size: Size) -> Tensor:
        if not self._usual:
            return x + self.ls1(self.self_attn(self.norm1(x), size, self.grid))
        attention, gain = cast(SelfAttention, self.self_attn), cast(LayerScale, self.ls1).gamma
        weights = _weights(attention.qkv, attention.proj, self.ls1, self.norm1)
        if group_attention.fits_half(x, size, *weights):
            check_size(x, size)
            packed = self._packed_attention.get(group_attention.pack, *weights)
            return group_attention.add_attention(x, packed, attention.heads, size, self.grid)
        return attention.proj.added(x, attention.attend(self.norm1(x), size, self.grid), gain)

    def _add_mlp(self, x: Tensor) -> Tensor:
        if not self._usual:
            return x + self.ls2(self.mlp(self.norm2(x)))
        weights = _weights(self.norm2, self.mlp, self.ls2)
        if feed_forward.fits_kernel(x, *weights):
            packed = self._packed_mlp.get(feed_forward.pack, *weights)
            return feed_forward.add_feed_forward(x, packed)
        first, second = self.mlp.net[0], cast(Linear, self.mlp.net[-1])
        return second.added(x, first(self.norm2(x)), cast(LayerScale, self.ls2).gamma)


class AttentionPair(nn.Module):
    """A window block, then a grid block.

    Args:
        dim: channels C.
        dim_head: channels of a head.
        options: what the blocks of the model have in common.
        first_norm: False where the input is normalised already.
    """

    def __init__(
        self, dim: int, dim_head: int, options: AttentionOptions, first_norm: bool = True
    ) -> None:
        super().__init__()
        self.att_window = PartitionAttention(dim, dim_head, options, first_norm=first_norm)
        self.att_grid = PartitionAttention(dim, dim_head, options, grid=True)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Map (B, H, W, C) -> map, with groups of ``size`` (P, Q)."""
        return self.att_grid(self.att_window(x, size), size)


def count_heads(dim: int, dim_head: int) -> int:
    """Number of heads.

    Raises:
        ValueError: ``dim`` is no multiple of ``dim_head``.
    """
    if dim < 1 or dim_head < 1 or dim % dim_head:
        raise ValueError(
            f"{dim} channels cannot be shared out to heads of dim_head={dim_head} channels; "
            "dim_head must divide embed_dim times each dim_multiplier."
        )
    return dim // dim_head


def _weights(*layers: nn.Module) -> list[Tensor]:
    return [weight for layer in layers for weight in layer.parameters()]


def _gain(dim: int, options: AttentionOptions) -> nn.Module:
    return LayerScale(dim, options.ls_init_value) if options.ls_init_value else nn.Identity()
