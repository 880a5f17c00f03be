"""What an LSTM cell does behind its matrix product, as a C++ kernel, ``csrc/lstm_update.cpp``.

It keeps nothing but its inputs for the backward pass. In inference the product is part of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nativecode import CheckedKernel
from smalldet.kernels.comparison import agree, normal, with_gradients
from smalldet.kernels.inference import infers_on_cpu
from smalldet.kernels.product import in_panels


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


def fits_step(x: Tensor, *others: Tensor) -> bool:
    """Whether :func:`step` takes ``x`` (B, C, h, w), the state, weight and bias here and now."""
    possible = x.numel() > 0 and infers_on_cpu(x, *others) and KERNEL.available()
    return possible and x.shape[1] % KERNEL.library.panel() == 0


def pack(weight: Tensor) -> Tensor:
    """``weight`` (4 C, 2 C, 1, 1) as :func:`step` wants it."""
    return in_panels(weight.detach().flatten(1), KERNEL.library.panel())


def step(
    x: Tensor, hidden: Tensor, cell: Tensor, packed: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """The next hidden and cell state of an LSTM without a convolution over neighbours.

    Args:
        x: input (B, C, h, w), as the state.
        hidden: hidden state.
        cell: cell state.
        packed: of the weight that mixes the channels of input and hidden state.
        bias: (4 C,).
    """
    given = [_in_pixels(t) for t in (x, hidden, cell)]
    following = torch.empty_like(given[0]), torch.empty_like(given[0])
    channels = x.shape[1]
    sizes = (x.numel() // channels, channels, torch.get_num_threads())
    pointers = (t.data_ptr() for t in (*given, packed, bias, *following))
    KERNEL.call("step", *sizes, *pointers)  # struct Step
    return following


def _fits_kernel(gates: Tensor) -> bool:
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return gates.device.type == "cpu" and gates.dtype == torch.float32


def _compiled(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    return _Update.apply(_in_pixels(gates), _in_pixels(cell))


def _agrees() -> bool:
    given = 3 * normal(2, 76, 3, 5), normal(2, 19, 3, 5, seed=1)
    alike = agree(with_gradients(_compiled, *given), with_gradients(plain_update, *given))
    return alike and _step_agrees()


def _step_agrees() -> bool:
    channels = 2 * KERNEL.library.panel()
    x, hidden, cell = (normal(2, channels, 3, 5, seed=seed) for seed in range(3))
    weight, bias = normal(4 * channels, 2 * channels, 1, 1), normal(4 * channels)
    gates = F.conv2d(torch.cat([x, hidden], dim=1), weight, bias)
    return agree(step(x, hidden, cell, pack(weight), bias), plain_update(gates, cell))


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
