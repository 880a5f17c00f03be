"""The strided convolution of event counts, whose columns become channels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from smalldet.layers.recurrent_stage import Downsample, convolve_counts


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_counts_are_convolved_as_numbers_would_be(factor: int, overlap: bool):
    torch.manual_seed(0)
    layer = Downsample(3, 5, factor, overlap).double()
    counts = torch.randint(0, 256, (2, 3, 2 * factor, 6 * factor), dtype=torch.uint8)
    results = []
    for x in (counts, counts.double()):
        out = layer(x)
        results.append((out, *torch.autograd.grad(out[..., 0].sum(), layer.conv.weight)))
    torch.testing.assert_close(*results)


def test_half_precision_holds_all_counts():
    counts = torch.full((1, 1, 2, 4), 255, dtype=torch.uint8)
    weight = torch.ones(1, 1, 3, 3, dtype=torch.bfloat16)
    out = convolve_counts(counts, weight, 2)
    torch.testing.assert_close(out, F.conv2d(counts.bfloat16(), weight, stride=2, padding=1))
