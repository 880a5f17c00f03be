"""The ways to compute a selective scan, and which of them can be used here."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from nativecode import CheckedKernel
from smalldet.kernels.scan import compiled
from smalldet.kernels.scan.check import agrees_with_reference, random_pair
from smalldet.kernels.scan.chunked import chunked_scan
from smalldet.kernels.scan.fused import fused_backend
from smalldet.kernels.scan.inputs import ScanBackend, ScanInputs, with_plain_delta
from smalldet.kernels.scan.looped import looped_scan
from smalldet.kernels.scan.reference import REFERENCE, pair_by_turning

logger = logging.getLogger(__name__)


def one_way(scan: Callable[[ScanInputs], tuple[Tensor, Tensor]]) -> ScanBackend:
    """The backend of a function that scans in one direction."""
    return ScanBackend(scan, partial(pair_by_turning, scan))


@cache
def _triton() -> ScanBackend:
    from smalldet.kernels.scan.triton_scan import TritonScan  # needs Triton, and takes a while

    return fused_backend(TritonScan())


def mamba_ssm_scan(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """The published CUDA operator; no gradient flows through its last state."""
    interface = import_module("mamba_ssm.ops.selective_scan_interface")
    streams = [x.contiguous() for x in with_plain_delta(inputs)[:5]]  # u, delta, A, B, C
    z = None if inputs.z is None else inputs.z.contiguous()
    options = (inputs.delta_bias, inputs.delta_softplus, True)
    return interface.selective_scan_fn(*streams, inputs.D, z, *options)


BACKENDS: dict[str, ScanBackend] = {
    "reference": REFERENCE,
    "chunked": one_way(chunked_scan),
    "looped": one_way(looped_scan),
    "compiled": compiled.COMPILED,
    "triton": ScanBackend(lambda scan: _triton().scan(scan), lambda pair: _triton().pair(pair)),
    "mamba_ssm": one_way(mamba_ssm_scan),
}
ANYWHERE = ("reference", "chunked")  # PyTorch's own operations
DEVICES = {"compiled": "cpu", "triton": "cuda", "mamba_ssm": "cuda"}  # of the kernels
MODULES = {  # that must be installed; mamba-ssm comes without its operator by default
    "triton": ("triton",),
    "mamba_ssm": ("mamba_ssm", "selective_scan_cuda"),
}
SINGLE_PRECISION = ("triton", "mamba_ssm")  # polynomials and a compiled operator of float32


def resolve_backend(
    backend: str = "auto",
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> str:
    """The name in ``BACKENDS`` that ``backend`` stands for ("auto" picks the fastest one here).

    Args:
        backend: "auto" or a name in ``BACKENDS``.
        device: where the tensors are; None: the GPU if torch sees one, else the CPU.
        dtype: of the input; all but float64 are computed in float32.

    Raises:
        ValueError: if there is no such backend, or it cannot be used here.
    """
    check_backend_name(backend)
    if backend in ("auto", "looped") and torch.compiler.is_exporting():
        return "looped"
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.device(device).type
    if backend == "auto":
        # Tracers follow torch's own operations only.
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
        return "chunked" if traced else _fastest(kind, dtype == torch.float64)
    reason = why_unusable(backend, kind, dtype)
    if reason:
        raise ValueError(f"The selective-scan backend {backend!r} cannot be used here: {reason}")
    return backend


def check_backend_name(backend: str) -> None:
    """Raise ValueError unless ``backend`` is "auto" or a name in ``BACKENDS``."""
    if backend != "auto" and backend not in BACKENDS:
        known = ", ".join(["auto", *BACKENDS])
        raise ValueError(f"There is no selective-scan backend {backend!r}; choose one of {known}.")


@cache
def why_unusable(backend: str, device: str, dtype: torch.dtype = torch.float32) -> str | None:
    """The sentence that says why ``backend`` cannot be used on ``device``; None if it can.

    Kernels are compared with the reference first: what computes wrong values is never used.
    """
    if backend in ANYWHERE:
        return None
    if backend == "looped":
        return "It is for torch.export alone, where auto takes it."
    missing = [name for name in MODULES.get(backend, ()) if find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} is not installed."
    interpreted = backend == "triton" and os.environ.get("TRITON_INTERPRET") == "1"
    if device != DEVICES[backend] and not interpreted:
        return f"It runs on {DEVICES[backend]}, not on {device}."
    if dtype == torch.float64 and backend in SINGLE_PRECISION:
        return "It computes in float32, and the input is float64; chunked takes it."
    return checked(backend, device).why_absent


def checked(backend: str, device: str) -> CheckedKernel:
    """The kernel of ``backend`` with its comparison on the current ``device`` of that type."""
    if backend == "compiled":
        return compiled.KERNEL
    # Which GPU is the current one depends on the thread.
    where = torch.device(device, torch.cuda.current_device() if device == "cuda" else 0)
    return CheckedKernel(
        f"selective-scan backend {backend}",
        lambda: agrees_with_reference(BACKENDS[backend], where),
    )


@cache
def _fastest(device: str, double: bool) -> str:
    dtype = torch.float64 if double else torch.float32
    kernels = [name for name, where in DEVICES.items() if where == device]
    reasons = {name: why_unusable(name, device, dtype) for name in kernels}
    usable = [name for name, reason in reasons.items() if reason is None]
    if double and not usable:
        logger.warning("Selective scans in float64 run in chunks on %s: %s", device, reasons)
    if len(usable) < 2:
        return usable[0] if usable else "chunked"
    seconds = {name: _seconds(name, device) for name in usable}
    logger.info("Seconds of a selective scan in both directions: %s", seconds)
    return min(seconds, key=lambda name: seconds[name])


@torch.no_grad()
def _seconds(backend: str, device: str) -> float:
    """The quickest of several scans of the size that ViM-Tiny has at 640 pixels."""
    pair = random_pair(batch=1, group_size=384, states=16, length=1600, device=device)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        BACKENDS[backend].pair(pair)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)
