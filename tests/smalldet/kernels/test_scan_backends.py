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
from smalldet.kernels.scan.check import agrees_with_reference
from smalldet.kernels.scan.inputs import ScanBackend, ScanInputs


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing is remembered of earlier choices, nor of those made here."""
    scan_backends.why_unusable.cache_clear(), scan_backends._fastest.cache_clear()
    yield
    scan_backends.why_unusable.cache_clear(), scan_backends._fastest.cache_clear()


def test_names_are_resolved(monkeypatch) -> None:
    assert resolve_backend() in BACKENDS
    assert resolve_backend("reference") == "reference"
    assert resolve_backend("auto", "meta") == "chunked"
    for function in (resolve_backend, check_backend_name):
        with pytest.raises(ValueError, match=r"no selective-scan backend 'fast'.*auto, reference"):
            function("fast")
    monkeypatch.setattr(torch.jit, "is_tracing", lambda: True)  # which sees torch's operations only
    assert resolve_backend("auto", "cpu") == "chunked"


@pytest.mark.parametrize(
    ("backend", "device", "reason"),
    [
        ("triton", "cpu", "runs on cuda|not installed"),
        ("mamba_ssm", "cpu", "runs on cuda|not installed"),
        ("compiled", "cuda", "runs on cpu, not on cuda"),
    ],
)
def test_a_backend_that_cannot_run_here_says_why(backend: str, device: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"'{backend}' cannot be used here: .*({reason})"):
        resolve_backend(backend, device)


def test_without_compiled_code_the_chunks_take_over(fresh, monkeypatch) -> None:
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
    scan, reason, fresh, monkeypatch, caplog
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
def test_kernels_in_single_precision_refuse_float64(backend, fresh, monkeypatch, caplog) -> None:
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


def test_of_several_gpu_kernels_the_quickest_is_taken(fresh, monkeypatch) -> None:
    seconds = {"triton": 2.0, "mamba_ssm": 1.0}
    monkeypatch.setattr(scan_backends, "why_unusable", lambda *_: None)
    monkeypatch.setattr(scan_backends, "_seconds", lambda name, _device: seconds[name])
    assert scan_backends._fastest("cuda", False) == "mamba_ssm"
