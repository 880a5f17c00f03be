"""Depthwise convolutions along a sequence that see one side of each token only.

Shape shorthand: B batch, L tokens, I channels, K width of the convolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nativecode import CheckedKernel
from smalldet.kernels.comparison import agree, normal

WIDTH = 4  # that the compiled kernel is made for


class ConvWeights(NamedTuple):
    weight: Tensor  # (I, 1, K)
    bias: Tensor  # (I,)


def causal_conv1d(x: Tensor, weight: Tensor, bias: Tensor, reverse: bool = False) -> Tensor:
    """Depthwise convolution of ``x`` (B, L, I) along L that sees no later token.

    ``weight`` is (I, 1, K), ``bias`` (I,): out[t] = bias + sum over k of weight[k] * x[t-K+1+k].
    With ``reverse`` it sees no earlier token: the same on the sequence turned round.
    """
    before = weight.shape[-1] - 1
    padded = F.pad(x.transpose(1, 2), (0, before) if reverse else (before, 0))
    weight = weight.flip(-1) if reverse else weight
    return F.conv1d(padded, weight, bias, groups=len(weight)).transpose(1, 2)


def convolve_both_ways(
    x: Tensor, ahead: ConvWeights, back: ConvWeights, compiled: bool = False
) -> tuple[Tensor, Tensor]:
    """SiLU of the causal convolution of ``x`` (B, L, I) by ``ahead``, and by ``back`` in reverse.

    ``compiled`` allows the C++ kernel, which does both in one pass; it is taken where it works,
    no gradient is needed, and all is float32 on the CPU.
    """
    if compiled and _fits_kernel(x, ahead, back) and KERNEL.available():
        return _compiled(x, ahead, back)
    return F.silu(causal_conv1d(x, *ahead)), F.silu(causal_conv1d(x, *back, reverse=True))


def _fits_kernel(x: Tensor, ahead: ConvWeights, back: ConvWeights) -> bool:
    tensors = [x, *ahead, *back]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    plain = all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    fits = x.stride(2) == 1 and ahead.weight.shape[-1] == back.weight.shape[-1] == WIDTH
    return plain and fits and not torch.is_autocast_enabled("cpu")


def _agrees() -> bool:
    x = normal(2, 70, 19)
    ahead, back = (ConvWeights(normal(19, 1, 4, seed=i), normal(19, seed=i + 2)) for i in (1, 2))
    return agree(_compiled(x, ahead, back), convolve_both_ways(x, ahead, back))


KERNEL = CheckedKernel(
    "compiled convolution", _agrees, Path(__file__).with_name("csrc") / "causal_conv.cpp"
)


def _compiled(x: Tensor, ahead: ConvWeights, back: ConvWeights) -> tuple[Tensor, Tensor]:
    weights = [w.weight.contiguous() for w in (ahead, back)]
    biases = [w.bias.contiguous() for w in (ahead, back)]
    outputs = (x.new_empty(x.shape), x.new_empty(x.shape))
    sizes = (*x.shape, torch.get_num_threads())
    pointers = [t.data_ptr() for t in (*weights, *biases, *outputs)]
    KERNEL.call("convolve_both_ways", *sizes, x.data_ptr(), *x.stride()[:2], *pointers)
    return outputs
