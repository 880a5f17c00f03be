"""What is special about the C++ kernel: instruction sets, threads, memory, NaN."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nativecode import CheckedKernel, compiler
from smalldet.kernels.scan import compiled
from smalldet.kernels.scan.backends import BACKENDS, why_unusable
from smalldet.kernels.scan.check import random_pair, random_scan, results
from smalldet.kernels.scan.inputs import ScanInputs

COMPILED, REFERENCE = BACKENDS["compiled"], BACKENDS["reference"]
pytestmark = pytest.mark.skipif(
    why_unusable("compiled", "cpu") is not None, reason="no compiled scan here"
)


@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"])
def test_nan_and_infinity_come_out_as_in_the_reference(name: str) -> None:
    scan = random_scan(batch=1, groups=1, group_size=20, states=11, length=70)
    for value in (float("nan"), float("inf"), -float("inf")):
        tensor = getattr(scan, name).clone()
        tensor.view(-1)[tensor.numel() // 3] = value
        broken = scan._replace(**{name: tensor})
        for got, want in zip(COMPILED.scan(broken), REFERENCE.scan(broken), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize(
    ("target", "flag", "lanes"), [("x86-64", "sse2", 4), ("x86-64-v3", "avx2", 8)]
)
def test_every_instruction_set_computes_the_same(target, flag, lanes, monkeypatch, tmp_path):
    if platform.machine() != "x86_64" or f" {flag} " not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this processor has no {flag}")
    flags = tuple(f"-march={target}" if f == "-march=native" else f for f in compiler.FLAGS)
    monkeypatch.setattr(compiler, "FLAGS", flags)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel = CheckedKernel("scan", compiled.KERNEL.agrees, compiled.KERNEL.source)
    monkeypatch.setattr(compiled, "KERNEL", kernel)
    assert kernel.available() and compiled.lanes_of(torch.float32) == lanes
    test_nan_and_infinity_come_out_as_in_the_reference("delta")


def test_digits_do_not_depend_on_the_number_of_threads() -> None:
    threads, found = torch.get_num_threads(), []
    scan = random_scan(batch=2, groups=2, group_size=40, states=16, length=100)
    pair = random_pair(batch=1, group_size=70, states=16, length=100)
    for number in (1, 3):
        torch.set_num_threads(number)
        found.append([*results(COMPILED, scan), *results(COMPILED, pair)])
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_extreme_decays_neither_overflow_nor_drift() -> None:
    scan = random_scan(batch=1, groups=1, group_size=16, states=4, length=2000)._replace(z=None)
    for rate in (-1e-7, -1e4):
        inputs = scan._replace(A=torch.full_like(scan.A, rate))
        wide = ScanInputs(*(x.double() if isinstance(x, Tensor) else x for x in inputs))
        got, want = COMPILED.scan(inputs)[0], REFERENCE.scan(wide)[0]
        assert float((got - want).abs().max() / want.abs().max()) < 1e-5
    growing = scan._replace(A=torch.full_like(scan.A, 50.0))
    assert not bool(COMPILED.scan(growing)[0].isfinite().all())


def test_the_backward_pass_keeps_no_state_of_every_step() -> None:
    scan = random_scan(batch=1, groups=1, group_size=64, states=16, length=640)
    kept = []
    given = {x.data_ptr() for x in scan if isinstance(x, Tensor)}

    def note(x: Tensor) -> Tensor:
        if x.data_ptr() not in given:
            kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        COMPILED.scan(scan._replace(u=scan.u.requires_grad_()))
    assert 0 < sum(kept) <= 64 * 16 * 640 / 32
