"""What an LSTM cell does behind its matrix product, as a C++ kernel, ``csrc/lstm_update.cpp``.

It keeps nothing but its inputs for the backward pass, and is called through ctypes.
"""

from __future__ import annotations

import logging
from ctypes import Structure, byref, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nativecode import load_library

SOURCE = Path(__file__).with_name("csrc") / "lstm_update.cpp"
logger = logging.getLogger(__name__)


def update_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell state after one step; see :class:`ConvLSTM` for the formulas.

    Args:
        gates: (B, 4 C, h, w) forget, input, output gate, candidate, before their activations.
        cell: (B, C, h, w), of the same type.
    """
    if _fits_kernel(gates) and _kernel_works():
        return _Update.apply(_in_pixels(gates), _in_pixels(cell))
    return plain_update(gates, cell)


def plain_update(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`update_cell`, in PyTorch."""
    forget, write, read, candidate = gates.chunk(4, dim=1)
    cell = forget.sigmoid() * cell + write.sigmoid() * candidate.tanh()
    return read.sigmoid() * cell.tanh(), cell


class _Update(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(gates, cell)
        hidden, following = torch.empty_like(cell), torch.empty_like(cell)
        _call("update", gates, cell, hidden, following)
        return hidden, following

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gates, cell = ctx.saved_tensors
        grad_hidden, grad_next = map(_in_pixels, grads)
        grad_gates, grad_cell = torch.empty_like(gates), torch.empty_like(cell)
        given = (None, None, grad_hidden, grad_next)
        _call("update_backward", gates, cell, *given, grad_gates, grad_cell)
        return grad_gates, grad_cell


class _CellUpdate(Structure):
    """As in the C++ file."""

    _fields_ = (
        *((name, c_int64) for name in ("cells", "channels", "threads")),
        *((name, c_void_p) for name in ("gates", "cell", "hidden", "next")),
        *((name, c_void_p) for name in ("grad_hidden", "grad_next", "grad_gates", "grad_cell")),
    )


def _call(function: str, gates: Tensor, cell: Tensor, *others: Tensor | None) -> None:
    pointers = [None if x is None else x.data_ptr() for x in (gates, cell, *others)]
    channels = cell.shape[1]
    call = _CellUpdate(cell.numel() // channels, channels, torch.get_num_threads(), *pointers)
    getattr(load_library(SOURCE), function)(byref(call))


def _in_pixels(x: Tensor) -> Tensor:
    """``x`` (B, C, h, w) with the channels of a pixel together in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def _fits_kernel(gates: Tensor) -> bool:
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return gates.device.type == "cpu" and gates.dtype == torch.float32


@cache
def _kernel_works() -> bool:
    """Whether there is a kernel, and it computes what it should."""
    if load_library(SOURCE) is None:
        return False
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        given = [
            3 * torch.randn(2, width, 3, 5, generator=generator, requires_grad=True)
            for width in (76, 19)
        ]
        results = []
        for function in (lambda *x: _Update.apply(*map(_in_pixels, x)), plain_update):
            hidden, cell = function(*given)
            grads = torch.autograd.grad((hidden * cell + cell).sum(), given)
            results.append([hidden, cell, *grads])
    works = all(
        torch.allclose(got, want, rtol=1e-4, atol=1e-5) for got, want in zip(*results, strict=True)
    )
    if not works:
        logger.warning("The compiled LSTM cell is not used: it computes wrong values here.")
    return works
