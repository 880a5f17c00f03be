"""Which backend of the selective scan is taken, and that none is taken on trust."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from nativecode import CheckedKernel
from nativecode.checked import SWITCH
from smalldet.kernels.scan import backends as scan_backends
from smalldet.kernels.scan import compiled
from smalldet.kernels.scan.backends import BACKENDS, check_backend_name, resolve_backend
from smalldet.kernels.scan.check import agrees_with_reference, random_scan, results
from smalldet.kernels.scan.inputs import ScanBackend, ScanInputs


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing is remembered of earlier choices, nor of those made here."""
    for function in (scan_backends.why_unusable, scan_backends._fastest):
        function.cache_clear()
    yield
    for function in (scan_backends.why_unusable, scan_backends._fastest):
        function.cache_clear()


def test_names_are_resolved() -> None:
    assert resolve_backend() in BACKENDS
    assert resolve_backend("reference") == "reference"
    assert resolve_backend("auto", "meta") == "chunked"
    with pytest.raises(ValueError, match=r"no selective-scan backend 'cuda'.*auto, reference"):
        resolve_backend("cuda")
    check_backend_name("triton")
    with pytest.raises(ValueError, match="no selective-scan backend 'fast'"):
        check_backend_name("fast")


@pytest.mark.parametrize(
    ("backend", "message"),
    [("triton", "runs on cuda|not installed"), ("mamba_ssm", "runs on cuda|not installed")],
)
def test_a_backend_that_cannot_run_here_says_why(backend: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"'{backend}' cannot be used here: .*({message})"):
        resolve_backend(backend, "cpu")
    with pytest.raises(ValueError, match="runs on cpu, not on cuda"):
        resolve_backend("compiled", "cuda")


def test_without_compiled_code_the_chunks_take_over(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "0")
    kernel = CheckedKernel("scan", compiled.KERNEL.agrees, compiled.KERNEL.source)
    monkeypatch.setattr(compiled, "KERNEL", kernel)
    assert resolve_backend("auto", "cpu") == "chunked"
    with pytest.raises(ValueError, match=r"'compiled' cannot be used here: .*SMALLDET_NATIVE=0"):
        resolve_backend("compiled", "cpu")


def louder(inputs: ScanInputs) -> tuple[torch.Tensor, torch.Tensor]:
    out, state = BACKENDS["chunked"].scan(inputs)
    return out * 1.001, state


def failing(_inputs: object) -> torch.Tensor:
    raise RuntimeError("no such function")


@pytest.mark.parametrize(
    ("scan", "reason"), [(louder, "wrong values"), (failing, "RuntimeError: no such function")]
)
def test_a_wrong_kernel_is_not_used_and_that_is_said_once(
    scan, reason: str, fresh: None, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    wrong = ScanBackend(scan, BACKENDS["chunked"].pair)
    kernel = CheckedKernel("scan", lambda: agrees_with_reference(wrong, "cpu"))
    monkeypatch.setattr(compiled, "KERNEL", kernel)
    with caplog.at_level(logging.WARNING):
        assert resolve_backend("auto", "cpu") == "chunked"
        with pytest.raises(ValueError, match=reason):
            resolve_backend("compiled", "cpu")
    assert [reason in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("backend", ["triton", "mamba_ssm"])
def test_kernels_in_single_precision_refuse_float64(
    backend: str, fresh: None, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(scan_backends, "find_spec", lambda name: name)
    monkeypatch.setattr(scan_backends, "checked", lambda *_: SimpleNamespace(why_absent=None))
    assert resolve_backend(backend, "cuda") == backend
    with pytest.raises(ValueError, match="float64"):
        resolve_backend(backend, "cuda", torch.float64)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert resolve_backend("auto", "cuda", torch.float64) == "chunked"
    assert ["float64" in record.getMessage() for record in caplog.records] == [True]


def test_wrong_gradients_are_seen_too() -> None:
    right = BACKENDS["chunked"]

    def deaf(inputs: ScanInputs) -> tuple[torch.Tensor, torch.Tensor]:
        return right.scan(inputs._replace(C=inputs.C.detach() + 0 * inputs.C))

    assert agrees_with_reference(right, "cpu")
    assert not agrees_with_reference(ScanBackend(deaf, right.pair), "cpu")


def test_tracers_get_torch_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.jit, "is_tracing", lambda: True)
    assert resolve_backend("auto", "cpu") == "chunked"


def test_of_several_gpu_kernels_the_quickest_is_taken(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"triton": 2.0, "mamba_ssm": 1.0}
    monkeypatch.setattr(scan_backends, "why_unusable", lambda *_: None)
    monkeypatch.setattr(scan_backends, "_seconds", lambda name, _device: seconds[name])
    assert scan_backends._fastest("cuda", False) == "mamba_ssm"


def test_the_self_test_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(0)
    want = torch.rand(3)
    torch.manual_seed(0)
    results(BACKENDS["chunked"], random_scan(1, 1, 2, 2, 3))
    assert torch.equal(torch.rand(3), want)
