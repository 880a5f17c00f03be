"""Two scans over one sequence in one call, against two calls of one scan."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smalldet.kernels.scan.backends import BACKENDS, why_unusable
from smalldet.kernels.scan.check import random_pair, results
from smalldet.kernels.scan.inputs import ScanInputs, ScanPair
from smalldet.layers.selective_scan import bidirectional_scan, selective_scan

USABLE = [name for name in BACKENDS if why_unusable(name, "cpu") is None]
few = settings(max_examples=15, deadline=None, derandomize=True)


def in_double(scan: ScanInputs) -> ScanInputs:
    return ScanInputs(*(x.double() if isinstance(x, Tensor) else x for x in scan))


def turned(scan: ScanInputs) -> ScanInputs:
    return scan._replace(**{k: getattr(scan, k).flip(-1) for k in ("u", "delta", "B", "C")})


@few
@given(
    batch=st.integers(1, 2),
    group_size=st.sampled_from([1, 5, 16, 33]),
    states=st.sampled_from([1, 4, 8, 17]),
    length=st.sampled_from([1, 2, 31, 32, 33, 70]),
    gated=st.booleans(),
)
def test_equals_two_scans(
    batch: int, group_size: int, states: int, length: int, gated: bool
) -> None:
    pair = random_pair(batch, group_size, states=states, length=length)
    ahead, back, z = in_double(pair.ahead), in_double(pair.back), pair.z.double()
    for backend in USABLE:
        first = selective_scan(*ahead[:6], None, *ahead[7:9], backend="reference")
        second = selective_scan(*turned(back)[:6], None, *back[7:9], backend="reference")
        want = 0.3 * (first + second.flip(-1)) * (torch.sigmoid(z) * z if gated else 1)
        got = bidirectional_scan(ahead, back, z if gated else None, 0.3, backend)
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", USABLE[1:])
def test_gradients_are_the_references(backend: str) -> None:
    pair = random_pair(batch=2, group_size=19, states=11, length=70)
    wide = ScanPair(in_double(pair.ahead), in_double(pair.back), pair.z.double(), 0.5)
    wanted = results(BACKENDS["reference"], wide)
    for got, want in zip(results(BACKENDS[backend], wide), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", USABLE)
@pytest.mark.parametrize("learns", [True, False])
def test_factored_step_sizes_are_multiplied(backend: str, learns: bool) -> None:
    pair = random_pair(batch=2, group_size=21, states=5, length=40)
    factor = torch.randn(21, 6, dtype=torch.float64, requires_grad=learns)
    steps = torch.randn(2, 6, 40, dtype=torch.float64)
    ahead, back = in_double(pair.ahead), in_double(pair.back)
    plain = bidirectional_scan(ahead._replace(delta=factor @ steps), back, backend="reference")
    factored = ahead._replace(delta=steps, delta_factor=factor)
    out = bidirectional_scan(factored, back, backend=backend)
    torch.testing.assert_close(out, plain, rtol=1e-9, atol=1e-9)
    if learns:
        (got,) = torch.autograd.grad(out.sum(), factor)
        (want,) = torch.autograd.grad(plain.sum(), factor)
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_inputs_that_do_not_fit_are_errors() -> None:
    pair = random_pair(batch=1, group_size=3, states=2, length=5)
    ahead, back = pair.ahead, pair.back
    with pytest.raises(ValueError, match="gates the sum"):
        bidirectional_scan(ahead._replace(z=pair.z), back)
    with pytest.raises(ValueError, match="one shape and one softplus setting"):
        bidirectional_scan(ahead, back._replace(delta_softplus=False))
    with pytest.raises(ValueError, match="z has shape"):
        bidirectional_scan(ahead, back, pair.z[:, :2])
    with pytest.raises(ValueError, match="delta_factor has shape"):
        bidirectional_scan(ahead._replace(delta_factor=torch.ones(2, 3)), back)
