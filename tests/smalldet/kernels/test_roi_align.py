"""RoIAlign of a pyramid, against torchvision's in float64 level by level."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import RoIAlign

from smalldet.kernels import roi_align
from smalldet.kernels.roi_align import Sampling, align_regions

pytestmark = pytest.mark.skipif(not roi_align.KERNEL.available(), reason="no compiler")
few = settings(max_examples=40, deadline=None, derandomize=True)

SCALES = (1 / 4, 1 / 8)
IMAGES, HEIGHT, WIDTH = 2, 72, 104  # px


def pyramid(channels: int, last: bool = False) -> list[Tensor]:
    levels = [torch.randn(IMAGES, channels, HEIGHT // s, WIDTH // s) for s in (4, 8)]
    layout = torch.channels_last if last else torch.contiguous_format
    return [x.contiguous(memory_format=layout).requires_grad_() for x in levels]


def scattered(count: int) -> tuple[Tensor, Tensor]:
    """Regions anywhere, also beyond the edges, of 0.1 to 150 px; and their levels."""
    middles = torch.rand(count, 2) * 1.4 * torch.tensor([WIDTH, HEIGHT]) - 20
    halves = 0.05 * 1500 ** torch.rand(count, 2)
    image = torch.randint(IMAGES, (count, 1))
    regions = torch.cat([image, middles - halves, middles + halves], dim=1)
    return regions, torch.randint(len(SCALES), (count,))


def by_torchvision(x: list[Tensor], regions: Tensor, levels: Tensor, how: Sampling) -> Tensor:
    of_level = [(levels == k).nonzero()[:, 0] for k in range(len(x))]
    parts = [
        RoIAlign(how.bins, how.scales[k], *how[2:])(x[k], regions[rows].to(x[k].dtype))
        for k, rows in enumerate(of_level)
    ]
    return torch.cat(parts)[torch.cat(of_level).argsort()]


def error(got: Tensor, want: Tensor) -> float:
    """The largest one, as a fraction of the largest number."""
    if not want.numel():
        return float(got.shape != want.shape)
    return float((got - want).detach().abs().max() / want.detach().abs().max().clamp(min=1e-30))


@few
@given(
    count=st.sampled_from([0, 1, 30]),
    channels=st.sampled_from([1, 5, 16, 35, 64]),
    bins=st.sampled_from([(7, 7), (1, 1), (2, 5)]),
    ratio=st.sampled_from([0, 1, 2, 3]),
    aligned=st.booleans(),
    last=st.booleans(),
)
def test_bins_and_gradients_are_those_of_float64(
    count: int, channels: int, bins: tuple[int, int], ratio: int, aligned: bool, last: bool
) -> None:
    x, (regions, levels) = pyramid(channels, last), scattered(count)
    exact = [level.detach().double().requires_grad_() for level in x]
    how = Sampling(bins, SCALES, ratio, aligned)
    got = align_regions(x, regions, levels, how)
    want = by_torchvision(exact, regions, levels, how)
    assert error(got, want) < 1e-5
    weights = torch.randn(got.shape)
    grads = torch.autograd.grad(got, x, weights)
    for mine, theirs in zip(grads, torch.autograd.grad(want, exact, weights.double()), strict=True):
        assert error(mine, theirs) < 1e-5


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
def test_boxes_that_are_empty_turned_round_or_outside(ratio: int, aligned: bool) -> None:
    far, inside = [[500.0, 500, 520, 520], [-90, -90, -60, -60]], [20.0, 30, 20, 30]
    boxes = [inside, [40, 40, 30, 20], *far, [0, 0, WIDTH, HEIGHT], [-4, -4, 200, 8]]
    regions = torch.tensor([[1.0, *box] for box in boxes])
    x, levels = pyramid(16), torch.zeros(len(boxes), dtype=torch.long)
    how = Sampling((7, 7), SCALES, ratio, aligned)
    exact = [level.detach().double() for level in x]
    got = align_regions(x, regions, levels, how)
    assert error(got, by_torchvision(exact, regions, levels, how)) < 1e-5
    assert not got[2:4].any(), "far from the map there is nothing"


def test_no_number_depends_on_the_threads() -> None:
    x, (regions, levels) = pyramid(35), scattered(200)
    how, before, runs = Sampling((7, 7), SCALES, 0, True), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            bins = align_regions(x, regions, levels, how)
            runs.append([bins, *torch.autograd.grad(bins, x, bins.detach())])
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_a_box_that_is_no_number_reads_nothing() -> None:
    x, nothing = pyramid(8), [float("nan"), float("inf"), -float("inf")]
    regions = torch.tensor([[0, 1, value, 9, 9] for value in nothing] + [[0, 1, 1, 9, 9.0]])
    levels = torch.zeros(len(regions), dtype=torch.long)
    bins = align_regions(x, regions, levels, Sampling((2, 2), SCALES, 0, True))
    assert not bins[:3].any() and bins[3].any()


def test_what_is_no_number_stays_in_the_bins_that_read_it() -> None:
    x = torch.ones(1, 8, 20, 20)
    x[0, 3, 10, 10] = float("nan")
    regions = torch.tensor([[0.0, 0, 0, 64, 64]])
    bins = align_regions([x], regions, torch.zeros(1).long(), Sampling((4, 4), (1 / 4,), 0, True))
    marked = torch.zeros(1, 8, 4, 4, dtype=torch.bool)
    marked[0, 3, 2, 2] = True
    assert torch.equal(bins.isnan(), marked)


def test_float32_on_a_cpu_is_what_fits() -> None:
    x = torch.ones(1, 2, 3, 4)
    assert roi_align.fits_kernel([x, x])
    assert not roi_align.fits_kernel([x, x.double()])
    assert not roi_align.fits_kernel([x.to("meta")])
    seen = []

    def traced(y: Tensor) -> Tensor:
        seen.append(roi_align.fits_kernel([y]))
        return y * 2

    torch.jit.trace(traced, x, check_trace=False)
    assert not any(seen)
