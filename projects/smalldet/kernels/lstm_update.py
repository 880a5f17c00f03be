"""What an LSTM cell does behind its matrix product, as a C++ kernel, ``csrc/lstm_update.cpp``.

It keeps nothing but its inputs for the backward pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nativecode import CheckedKernel
from smalldet.kernels.comparison import agree, normal, with_gradients


def update_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell state after one step; see :class:`ConvLSTM` for the formulas.

    Args:
        gates: (B, 4 C, h, w) forget, input, output gate, candidate, before their activations.
        cell: (B, C, h, w), of the same type.
    """
    if _fits_kernel(gates) and KERNEL.available():
        return _compiled(gates, cell)
    return plain_update(gates, cell)


def plain_update(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`update_cell`, in PyTorch."""
    forget, write, read, candidate = gates.chunk(4, dim=1)
    cell = forget.sigmoid() * cell + write.sigmoid() * candidate.tanh()
    return read.sigmoid() * cell.tanh(), cell


def _fits_kernel(gates: Tensor) -> bool:
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return gates.device.type == "cpu" and gates.dtype == torch.float32


def _compiled(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    return _Update.apply(_in_pixels(gates), _in_pixels(cell))


def _agrees() -> bool:
    given = 3 * normal(2, 76, 3, 5), normal(2, 19, 3, 5, seed=1)
    return agree(with_gradients(_compiled, *given), with_gradients(plain_update, *given))


KERNEL = CheckedKernel(
    "compiled LSTM cell", _agrees, Path(__file__).with_name("csrc") / "lstm_update.cpp"
)


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


def _call(function: str, gates: Tensor, cell: Tensor, *others: Tensor | None) -> None:
    """``others`` are the next hidden and cell state, and the gradients of both and of the given."""
    pointers = [None if x is None else x.data_ptr() for x in (gates, cell, *others)]
    channels = cell.shape[1]
    sizes = (cell.numel() // channels, channels, torch.get_num_threads())
    KERNEL.call(function, *sizes, *pointers)  # struct Update


def _in_pixels(x: Tensor) -> Tensor:
    """``x`` (B, C, h, w) with the channels of a pixel together in memory."""
    return x.contiguous(memory_format=torch.channels_last)
