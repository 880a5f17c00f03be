"""The selective scan against the official code, its own definition, and numeric gradients."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smalldet.kernels.scan import chunked as chunked_scan
from smalldet.kernels.scan.backends import BACKENDS, why_unusable
from smalldet.kernels.scan.check import random_pair, random_scan, results
from smalldet.kernels.scan.inputs import ScanInputs
from smalldet.layers.selective_scan import bidirectional_scan, selective_scan
from vim_golden import golden, golden_names, relative_error

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
USABLE = [name for name in BACKENDS if why_unusable(name, "cpu") is None]
few = settings(max_examples=25, deadline=None, derandomize=True)
on_every_backend = pytest.mark.parametrize("backend", USABLE)
assert_near = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)


def in_double(scan: ScanInputs) -> ScanInputs:
    return ScanInputs(*(x.double() if isinstance(x, Tensor) else x for x in scan))


def random_inputs(batch=2, groups=1, group_size=3, states=4, length=20, optional=True, seed=0):
    """Tensors of a scan by name, in float64."""
    scan = in_double(random_scan(batch, groups, group_size, states, length, seed))
    return dict(zip(NAMES if optional else NAMES[:5], scan, strict=False))


def scan_with_gradients(inputs: dict[str, Tensor], dout: Tensor, backend: str) -> dict[str, Tensor]:
    """Output, last state and the gradient of every input."""
    leaves = {k: v.detach().requires_grad_() for k, v in inputs.items()}
    out, last = selective_scan(
        **leaves, delta_softplus=True, return_last_state=True, backend=backend
    )
    gradients = torch.autograd.grad([out, last], list(leaves.values()), [dout, last.detach()])
    return {"out": out, "last": last} | dict(zip(leaves, gradients, strict=True))


@on_every_backend
@pytest.mark.parametrize("name", golden_names("scan_*"))
def test_official_outputs(name: str, backend: str) -> None:
    arrays = golden(name)
    inputs = {k: arrays[k] for k in NAMES if k in arrays}
    softplus = bool(arrays["delta_softplus"])
    options = {"delta_softplus": softplus, "return_last_state": True, "backend": backend}
    out, last = selective_scan(**inputs, **options)
    assert relative_error(out, arrays["out"]) < 1e-5
    assert relative_error(last, arrays["last_state"]) < 1e-5
    exact, _ = selective_scan(**{k: v.double() for k, v in inputs.items()}, **options)
    assert exact.dtype == torch.float64
    # the published softplus is a line above 20, which drops exp(-20) = 2e-9 of it
    assert relative_error(exact, arrays["out_f64"]) < 1e-10


@on_every_backend
@pytest.mark.parametrize("name", golden_names("scan_grad_*"))
def test_official_gradients(name: str, backend: str) -> None:
    arrays = golden(name)
    inputs = {k: arrays[k].requires_grad_() for k in NAMES if k in arrays}
    out = selective_scan(**inputs, delta_softplus=True, backend=backend)
    out.backward(arrays["dout"])
    for key, leaf in inputs.items():
        assert relative_error(leaf.grad, arrays[f"grad_{key}"]) < 1e-5, key


@few
@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 3),
    group_size=st.sampled_from([1, 2, 4, 7, 8, 9, 16, 17, 33]),
    states=st.sampled_from([1, 3, 8, 9, 16, 19]),
    length=st.sampled_from([1, 2, 7, 31, 32, 33, 63, 64, 65, 130]),
    optional=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_backends_agree(**shape: int) -> None:
    exact = random_inputs(**shape)
    rounded = {k: v.float() for k, v in exact.items()}
    dout = torch.randn_like(exact["u"])
    want = scan_with_gradients(exact, dout, "reference")
    for backend in USABLE[1:]:
        got = scan_with_gradients(exact, dout, backend)
        single = scan_with_gradients(rounded, dout.float(), backend)
        for key, value in want.items():
            assert_near(got[key], value, msg=key)
            atol = 1e-4 * float(value.detach().abs().max()) + 1e-9
            torch.testing.assert_close(single[key].double(), value, rtol=0, atol=atol, msg=key)


def in_numpy(inputs: dict[str, Tensor]) -> np.ndarray:
    """The output in float64 by the definition, with nothing of PyTorch in it."""
    u, delta, A, B, C, D, z, bias = (inputs[name].numpy() for name in NAMES)
    dt = np.logaddexp(delta + bias[:, None], 0)
    state, out = np.zeros((len(u), *A.shape)), np.empty_like(u)
    for t in range(u.shape[-1]):
        decay, x = np.exp(dt[..., t, None] * A), (dt * u)[..., t, None] * B[:, 0, None, :, t]
        state = decay * state + x
        out[..., t] = (state * C[:, 0, None, :, t]).sum(-1)
    return (out + u * D[:, None]) * z / (1 + np.exp(-z))


@pytest.mark.parametrize("backend", BACKENDS)
def test_float64_is_accurate_to_its_last_digits_or_refused(backend: str) -> None:
    inputs = random_inputs(group_size=9, states=5, length=70)
    inputs["delta"][..., ::7] += 25  # where the softplus is nearly, but not quite, a line
    inputs["delta"][..., 3::7] -= 25
    if why_unusable(backend, "cpu", torch.float64):
        with pytest.raises(ValueError, match=f"{backend}.*cannot be used"):
            selective_scan(**inputs, delta_softplus=True, backend=backend)
        return
    got = selective_scan(**inputs, delta_softplus=True, backend=backend)
    want = torch.from_numpy(in_numpy(inputs))
    assert got.dtype == torch.float64
    assert relative_error(got, want) < 1e-13
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", USABLE[1:])
@pytest.mark.parametrize("length", [1, 3, 7])
def test_gradients_are_those_of_finite_differences(
    length: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked_scan, "LONGEST_CHUNK", 3)
    inputs = random_inputs(batch=1, groups=2, group_size=2, states=2, length=length)
    leaves = [v.requires_grad_() for v in inputs.values()]

    def scan(*values: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        options = {"delta_softplus": True, "return_last_state": True, "backend": backend}
        return selective_scan(*values, **options)

    assert torch.autograd.gradcheck(scan, leaves)


LAYOUTS = {
    "channels last": lambda x: x.mT.contiguous().mT,
    "every second": lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
    "images share their memory": lambda x: x[:1].expand_as(x),
}


@on_every_backend
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_the_inputs_does_not_matter(layout: str, backend: str) -> None:
    inputs = random_inputs(group_size=19, states=11, length=37)
    views = {k: LAYOUTS[layout](v) if v.dim() > 2 else v for k, v in inputs.items()}
    assert not views["u"].is_contiguous()
    dout = LAYOUTS[layout](torch.randn_like(inputs["u"]))
    plain = {k: v.contiguous() for k, v in views.items()}
    want = scan_with_gradients(plain, dout.contiguous(), backend)
    got = scan_with_gradients(views, dout, backend)
    for key, value in want.items():
        assert_near(got[key], value, msg=key)


@on_every_backend
def test_half_precision_leaves_the_scan_in_float32(backend: str) -> None:
    inputs = {k: v.float() for k, v in random_inputs(length=50).items()}
    dout = torch.randn_like(inputs["u"])
    want = scan_with_gradients(inputs, dout, backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = scan_with_gradients(inputs, dout, backend)
    for key, value in want.items():
        assert got[key].dtype == torch.float32
        assert torch.equal(got[key], value), key
    rounded = {k: v.bfloat16() for k, v in inputs.items()}
    options = {"delta_softplus": True, "return_last_state": True, "backend": backend}
    out, last = selective_scan(**rounded, **options)
    wide, _ = selective_scan(**{k: v.float() for k, v in rounded.items()}, **options)
    assert last.dtype == torch.float32
    assert torch.equal(out, wide.bfloat16())


@pytest.mark.parametrize("key", ["delta", "A", "B", "C", "D", "z", "delta_bias"])
def test_shapes_that_do_not_fit_are_errors(key: str) -> None:
    inputs = random_inputs()
    inputs[key] = inputs[key][:1]
    with pytest.raises(ValueError, match=rf"{key} has shape .* fits u \(2, 3, 20\)"):
        selective_scan(**inputs)


def test_empty_sequences_and_odd_groups_are_errors() -> None:
    with pytest.raises(ValueError, match="L >= 1"):
        selective_scan(**random_inputs(length=0))
    with pytest.raises(ValueError, match="3 channels cannot be split into 2 groups"):
        selective_scan(**random_inputs() | {"B": torch.ones(2, 2, 4, 20)})


@settings(few, max_examples=15)
@given(
    batch=st.integers(1, 2),
    group_size=st.sampled_from([1, 5, 16, 33]),
    states=st.sampled_from([1, 4, 8, 17]),
    length=st.sampled_from([1, 2, 31, 32, 33, 70]),
    gated=st.booleans(),
)
def test_both_directions_in_one_call_equal_two_scans(batch, group_size, states, length, gated):
    pair = random_pair(batch, group_size, states=states, length=length)
    ahead, back, z = in_double(pair.ahead), in_double(pair.back), pair.z.double()
    streams = {k: getattr(back, k).flip(-1) for k in ("u", "delta", "B", "C")}
    first, second = (
        selective_scan(*scan[:9], backend="reference") for scan in (ahead, back._replace(**streams))
    )
    want = 0.3 * (first + second.flip(-1)) * (torch.sigmoid(z) * z if gated else 1)
    for backend in USABLE:
        assert_near(bidirectional_scan(ahead, back, z if gated else None, 0.3, backend), want)


@pytest.mark.parametrize("backend", USABLE[1:])
def test_gradients_of_both_directions_are_the_references(backend: str) -> None:
    pair = random_pair(batch=2, group_size=19, states=11, length=70)
    wide = pair._replace(ahead=in_double(pair.ahead), back=in_double(pair.back), z=pair.z.double())
    assert_near(results(BACKENDS[backend], wide), results(BACKENDS["reference"], wide))


@on_every_backend
@pytest.mark.parametrize("learns", [True, False])
def test_factored_step_sizes_are_multiplied(backend: str, learns: bool) -> None:
    pair = random_pair(batch=2, group_size=21, states=5, length=40)
    factor = torch.randn(21, 6, dtype=torch.float64, requires_grad=learns)
    steps = torch.randn(2, 6, 40, dtype=torch.float64)
    ahead, back = in_double(pair.ahead), in_double(pair.back)
    plain = bidirectional_scan(ahead._replace(delta=factor @ steps), back, backend="reference")
    factored = ahead._replace(delta=steps, delta_factor=factor)
    out = bidirectional_scan(factored, back, backend=backend)
    assert_near(out, plain)
    if learns:
        assert_near(*(torch.autograd.grad(x.sum(), factor) for x in (out, plain)))


def test_directions_that_do_not_fit_are_errors() -> None:
    pair = random_pair(batch=1, group_size=3, states=2, length=5)
    ahead, back = pair.ahead, pair.back
    for scans, sentence in [
        ((ahead._replace(z=pair.z), back), "gates the sum"),
        ((ahead, back._replace(delta_softplus=False)), "one shape and one softplus setting"),
        ((ahead, back, pair.z[:, :2]), "z has shape"),
        ((ahead._replace(delta_factor=torch.ones(2, 3)), back), "delta_factor has shape"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            bidirectional_scan(*scans)


MEMORY = """
import resource, sys, torch
from smalldet.kernels.scan.check import random_scan
from smalldet.layers.selective_scan import selective_scan

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

scan = random_scan(batch=1, groups=1, group_size=384, states=16, length=1600)
short = scan._replace(**{k: getattr(scan, k)[..., :128] for k in ("u", "delta", "B", "C", "z")})
with torch.no_grad():
    selective_scan(*short[:9], backend=sys.argv[1])
    before = peak()
    selective_scan(*scan[:9], backend=sys.argv[1])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", USABLE[1:])
def test_vim_tiny_takes_at_most_20_mb_more(backend: str) -> None:
    command = [sys.executable, "-c", MEMORY, backend]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 20
