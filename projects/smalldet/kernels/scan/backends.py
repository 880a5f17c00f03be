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

from smalldet.kernels.scan.check import agrees_with_reference, random_pair
from smalldet.kernels.scan.chunked import chunked_scan
from smalldet.kernels.scan.compiled import CompiledKernel, why_not_compiled
from smalldet.kernels.scan.fused import fused_backend
from smalldet.kernels.scan.inputs import ScanBackend, ScanInputs, with_plain_delta
from smalldet.kernels.scan.reference import REFERENCE, pair_by_turning

logger = logging.getLogger(__name__)


def one_way(scan: Callable[[ScanInputs], tuple[Tensor, Tensor]]) -> ScanBackend:
    """The backend of a function that scans in one direction."""
    return ScanBackend(scan, partial(pair_by_turning, scan))


@cache
def _triton() -> ScanBackend:
    from smalldet.kernels.scan.triton_scan import TritonKernel  # needs Triton, and takes a while

    return fused_backend(TritonKernel())


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
    "compiled": fused_backend(CompiledKernel()),
    "triton": ScanBackend(lambda scan: _triton().scan(scan), lambda pair: _triton().pair(pair)),
    "mamba_ssm": one_way(mamba_ssm_scan),
}
FAST = {"cpu": ("compiled",), "cuda": ("triton", "mamba_ssm")}  # by type of device


def resolve_backend(backend: str = "auto", device: torch.device | str | None = None) -> str:
    """The name in ``BACKENDS`` that ``backend`` stands for ("auto" picks the fastest one here).

    Args:
        backend: "auto" or a name in ``BACKENDS``.
        device: where the tensors are; None: the GPU if torch sees one, else the CPU.

    Raises:
        ValueError: if there is no such backend, or it cannot be used here.
    """
    check_backend_name(backend)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.device(device).type
    if backend == "auto":
        # Tracers follow torch's own operations only.
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
        return "chunked" if traced else _fastest(kind)
    reason = why_unusable(backend, kind)
    if reason:
        raise ValueError(f"The selective-scan backend {backend!r} cannot be used here: {reason}")
    return backend


def check_backend_name(backend: str) -> None:
    """Raise ValueError unless ``backend`` is "auto" or a name in ``BACKENDS``."""
    if backend != "auto" and backend not in BACKENDS:
        known = ", ".join(["auto", *BACKENDS])
        raise ValueError(f"There is no selective-scan backend {backend!r}; choose one of {known}.")


@cache
def why_unusable(backend: str, device: str) -> str | None:
    """The sentence that says why ``backend`` cannot be used on ``device``; None if it can.

    Kernels are compared with the reference first: what computes wrong values is never used.
    """
    if backend in ("reference", "chunked"):
        return None
    reason = {
        "compiled": _why_not_compiled,
        "triton": _why_no_triton,
        "mamba_ssm": _why_no_mamba_ssm,
    }[backend](device)
    if reason is None and not _works(backend, device):
        reason = "It fails or computes wrong values on this machine."
        logger.warning("The selective-scan backend %s is not used. %s", backend, reason)
    return reason


def _works(backend: str, device: str) -> bool:
    try:
        return agrees_with_reference(BACKENDS[backend], device)
    except Exception:  # foreign code may fail in any way; then it is not used
        logger.warning("The self-test of %s failed.", backend, exc_info=True)
        return False


def _why_not_compiled(device: str) -> str | None:
    return why_not_compiled() if device == "cpu" else f"It runs on the CPU, not on {device}."


def _why_no_triton(device: str) -> str | None:
    if find_spec("triton") is None:
        return "Triton is not installed."
    if device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        return None
    return f"It needs a CUDA GPU, not {device}."


def _why_no_mamba_ssm(device: str) -> str | None:
    # Current releases of mamba-ssm install without their compiled operator by default.
    if find_spec("mamba_ssm") is None or find_spec("selective_scan_cuda") is None:
        return "mamba-ssm with its compiled operator is not installed."
    return None if device == "cuda" else f"It needs a CUDA GPU, not {device}."


@cache
def _fastest(device: str) -> str:
    usable = [name for name in FAST.get(device, ()) if why_unusable(name, device) is None]
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
