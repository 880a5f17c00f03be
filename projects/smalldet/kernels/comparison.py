"""How a kernel is compared with its oracle: outputs and gradients, in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

TOLERANCE = 1e-4  # of the largest value; float32 gives about 1e-6


def agree(got: Iterable[Tensor], want: Iterable[Tensor]) -> bool:
    """Whether each of ``got`` has the shape of ``want`` and is near it; NaN is near to nothing."""
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=TOLERANCE * float(b.abs().max()))
        for a, b in zip(got, want, strict=True)
    )


def with_gradients(function: Callable[..., Any], *given: Tensor) -> list[Tensor]:
    """The tensor or tensors that ``function`` gives, and their gradients in all of ``given``."""
    leaves = [x.detach().requires_grad_() for x in given]
    result = function(*leaves)
    outputs = [result] if isinstance(result, Tensor) else list(result)
    weights = [torch.cos(x.detach()) for x in outputs]
    gradients = torch.autograd.grad(outputs, leaves, weights)
    return [*(x.detach() for x in outputs), *gradients]


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normally distributed float32 numbers that leave PyTorch's random numbers alone."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float32)
