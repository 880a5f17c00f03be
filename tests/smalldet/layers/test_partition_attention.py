"""Window and grid groups, and attention inside them."""

from __future__ import annotations

import pytest
import torch

from smalldet.kernels import group_attention
from smalldet.layers.feed_forward import FeedForward
from smalldet.layers.partition_attention import (
    AttentionOptions,
    PartitionAttention,
    SelfAttention,
    TorchSelfAttention,
    partition,
    unpartition,
)
from toy_detection import relative_error

MAP, SIZE = (6, 8), (2, 4)  # cells, rows by columns


def positions(batch: int = 2) -> torch.Tensor:
    """A map whose content is its own index: batch entry, row, column."""
    axes = [torch.arange(n) for n in (batch, *MAP)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def test_windows_hold_neighbours_grids_span_the_map_and_both_can_be_put_together_again():
    x = positions()
    spacing = torch.tensor([MAP[0] // SIZE[0], MAP[1] // SIZE[1]])
    for grid in (False, True):
        groups = partition(x, SIZE, grid)
        assert torch.equal(unpartition(groups, MAP, SIZE, grid), x)
        for group in groups:
            same = group[:, 1:] % spacing if grid else group[:, 1:] // torch.tensor(SIZE)
            assert len(same.unique(dim=0)) == len(group[:, 0].unique()) == 1
            assert len(group.unique(dim=0)) == SIZE[0] * SIZE[1]
    with pytest.raises(ValueError, match="groups of 4x4"):
        partition(x, (4, 4))


@pytest.mark.parametrize("grid", [False, True])
def test_a_token_reaches_its_group_only(grid: bool):
    torch.manual_seed(0)
    block = PartitionAttention(4, 2, AttentionOptions(ls_init_value=1.0), grid=grid)
    x = torch.randn(1, *MAP, 4)
    moved = x.clone()
    moved[0, 3, 5, 0] += 1  # of one channel: the norm would take away the same on all
    changed = (block(x, SIZE) - block(moved, SIZE)).abs().amax(-1)[0] > 0
    same_group = torch.zeros(MAP, dtype=torch.bool)
    group = next(g for g in partition(positions(1), SIZE, grid) if [0, 3, 5] in g.tolist())
    same_group[group[:, 1], group[:, 2]] = True
    assert torch.equal(changed, same_group)


def test_both_layouts_of_the_weights_give_the_same_attention():
    """Ours is head by head (q, k, v of each); PyTorch's is all q, all k, all v."""
    torch.manual_seed(0)
    dim, dim_head = 12, 4
    ours, theirs = SelfAttention(dim, dim_head), TorchSelfAttention(dim, dim_head)
    order = torch.arange(3 * dim).view(dim // dim_head, 3, dim_head).transpose(0, 1).flatten()
    with torch.no_grad():
        theirs.mha.in_proj_weight.copy_(ours.qkv.weight[order])
        theirs.mha.in_proj_bias.copy_(ours.qkv.bias[order])
        theirs.mha.out_proj.load_state_dict(ours.proj.state_dict())
    x = torch.randn(2, *MAP, dim)
    for grid in (False, True):
        torch.testing.assert_close(ours(x, SIZE, grid), theirs(x, SIZE, grid))


def with_gradients(attention: SelfAttention, x: torch.Tensor, size: tuple[int, int], grid: bool):
    x = x.clone().requires_grad_()
    out = attention(x, size, grid)
    loss = (out * torch.linspace(0.5, 1.5, out.numel()).view_as(out)).sum()
    return out, *torch.autograd.grad(loss, [x, *attention.parameters()])


@pytest.mark.skipif(not group_attention.KERNEL.available(), reason="no compiler")
@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize(
    ("shape", "size", "dim_head"),
    [
        ((2, 12, 20, 96), (6, 10), 32),
        ((1, 12, 20, 48), (6, 10), 24),  # RVT-S
        ((1, 16, 10, 64), (8, 10), 32),  # Gen1
        ((1, 12, 20, 32), (12, 20), 32),  # full resolution: one group
        ((3, 3, 2, 7), (1, 2), 7),
        ((1, 4, 4, 5), (1, 1), 1),
    ],
)
def test_the_compiled_kernel_computes_the_same(shape, size, dim_head, grid, monkeypatch):
    torch.manual_seed(0)
    attention, x = SelfAttention(shape[-1], dim_head), 3 * torch.randn(shape)
    compiled = with_gradients(attention, x, size, grid)
    monkeypatch.setattr(group_attention.KERNEL, "why_absent", "not here")
    plain = with_gradients(attention, x, size, grid)
    for got, want in zip(compiled, plain, strict=True):
        assert relative_error(got, want) < 1e-5


@pytest.mark.skipif(not group_attention.KERNEL.available(), reason="no compiler")
def test_the_number_of_threads_changes_no_bit():
    qkv = torch.randn(2, *MAP, 3, 3, 8, generator=torch.Generator().manual_seed(0))
    before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(group_attention.attend_in_groups(qkv, SIZE, grid=True))
    torch.set_num_threads(before)
    assert torch.equal(*results)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_broken_numbers_stay_in_their_group(value: float):
    torch.manual_seed(0)
    attention, x = SelfAttention(8, 4), torch.randn(1, *MAP, 8)
    before = attention(x, SIZE, False)
    x[0, 0, 0] = value
    after = attention(x, SIZE, False)
    untouched = torch.ones(MAP, dtype=torch.bool)
    untouched[: SIZE[0], : SIZE[1]] = False
    assert torch.equal(after[0][untouched], before[0][untouched])
    if value != 1e30:
        assert after[0, : SIZE[0], : SIZE[1]].isnan().all()


def test_gains_can_go_and_a_gated_layer_has_two_thirds_of_the_width():
    block = PartitionAttention(4, 2, AttentionOptions(ls_init_value=0), first_norm=False)
    assert not [name for name in block.state_dict() if "ls" in name or "norm1" in name]
    names = {name: tuple(x.shape) for name, x in FeedForward(48, gated=True).state_dict().items()}
    assert names["net.0.proj.weight"] == (256, 48)
    assert names["net.2.weight"] == (48, 128)
