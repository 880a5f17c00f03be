"""Which backend of the selective scan is taken, and that none is taken on trust."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

from nativecode import library
from smalldet.kernels.scan import backends as scan_backends
from smalldet.kernels.scan import compiled as compiled_scan
from smalldet.kernels.scan.backends import BACKENDS, check_backend_name, resolve_backend
from smalldet.kernels.scan.check import agrees_with_reference, random_scan, results
from smalldet.kernels.scan.inputs import ScanBackend, ScanInputs

CACHES = (
    library._load,
    compiled_scan._library,
    scan_backends.why_unusable,
    scan_backends._fastest,
)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing is remembered of earlier choices, nor of those made here."""
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


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
    [("triton", "needs a CUDA GPU|not installed"), ("mamba_ssm", "not installed|needs a CUDA")],
)
def test_a_backend_that_cannot_run_here_says_why(backend: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"'{backend}' cannot be used here: .*({message})"):
        resolve_backend(backend, "cpu")
    with pytest.raises(ValueError, match="runs on the CPU, not on cuda"):
        resolve_backend("compiled", "cuda")


def test_without_compiled_code_the_chunks_take_over(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(library.SWITCH, "0")
    assert resolve_backend("auto", "cpu") == "chunked"
    with pytest.raises(ValueError, match=r"'compiled' cannot be used here: .*SMALLDET_NATIVE=0"):
        resolve_backend("compiled", "cpu")


def test_a_kernel_that_computes_wrong_values_is_not_used(
    fresh: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = BACKENDS["chunked"]

    def wrong(inputs: ScanInputs) -> tuple[torch.Tensor, torch.Tensor]:
        out, state = right.scan(inputs)
        return out * 1.001, state

    monkeypatch.setitem(BACKENDS, "compiled", ScanBackend(wrong, right.pair))
    monkeypatch.setattr(scan_backends, "why_not_compiled", lambda: None)
    with caplog.at_level(logging.WARNING, logger=scan_backends.logger.name):
        assert resolve_backend("auto", "cpu") == "chunked"
    assert "compiled is not used. It fails or computes wrong values" in caplog.text


def test_a_kernel_that_fails_is_not_used(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_inputs: object) -> torch.Tensor:
        raise RuntimeError("no such function")

    monkeypatch.setitem(BACKENDS, "compiled", ScanBackend(failing, failing))  # type: ignore
    monkeypatch.setattr(scan_backends, "why_not_compiled", lambda: None)
    assert resolve_backend("auto", "cpu") == "chunked"


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
    monkeypatch.setattr(scan_backends, "why_unusable", lambda _name, _device: None)
    monkeypatch.setattr(scan_backends, "_seconds", lambda name, _device: seconds[name])
    assert scan_backends._fastest("cuda") == "mamba_ssm"


def test_the_self_test_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(0)
    want = torch.rand(3)
    torch.manual_seed(0)
    results(BACKENDS["chunked"], random_scan(1, 1, 2, 2, 3))
    assert torch.equal(torch.rand(3), want)
