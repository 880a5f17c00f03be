"""torch.compile for the parts of a model that it can be trusted with, in training steps alone."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from smalldet.engine.random_state import preserved_random_state

logger = logging.getLogger(__name__)

# The convolutions of necks and heads, by the last part of their names (the published ones). Not
# the selective scan, for which PyTorch's compiler has given wrong values without a word, and not
# the attention and the LSTM of RVT, which have kernels that it cannot look into.
PARTS = re.compile(
    r"(.*\.)?(simfp_\d|rpn_head|box_head\.\d"  # simple feature pyramid, Cascade R-CNN
    r"|C3_[pn]\d|bu_conv\d|lateral_conv0|reduce_conv\d|stems\.\d|(cls|reg)_convs\.\d)"  # YOLOX
)
GRAPHS = 64  # of one forward(); PyTorch counts those of all modules of a class together
# Of the norm of a difference, relative to the norm: of values, of gradients. Rounding by r moves a
# share r of the ReLUs over their edge, and gradients by the root of that.
TOLERANCES = 5e-4, 1e-2
TOLERANCES_HALF = 3e-2, 0.2  # under autocast
LEAST_SCALE = 1e-3  # of the largest norm; what is smaller, as zero but for rounding, counts as such


def compile_parts(model: nn.Module) -> list[str]:
    """Have the trained parts of ``model`` run compiled in training; in place, names stay.

    Each is compiled, and compared with itself uncompiled, at its first training step; see
    :class:`CompiledForward`.

    Returns:
        The names of the parts.

    Raises:
        ValueError: there are none, or nothing can be compiled on this machine.
    """
    found = {name: module for name, module in model.named_modules() if is_part(name, module)}
    if not found:
        raise ValueError(
            f"train.compile=true, but {type(model).__name__} has no trained part that can be "
            "compiled (pyramid, PAFPN, heads of Cascade R-CNN or YOLOX). Set train.compile=false."
        )
    check_compiler(next(model.parameters()).device)
    limit = torch._dynamo.config
    limit.recompile_limit = max(limit.recompile_limit, GRAPHS)
    for name, module in found.items():
        module.forward = CompiledForward(name, module)
    logger.info(f"Compiled in training steps: {', '.join(found)}.")
    return list(found)


def is_part(name: str, module: nn.Module) -> bool:
    """Whether the module of this name is to be compiled."""
    trained = any(p.requires_grad for p in module.parameters())
    return trained and PARTS.fullmatch(name) is not None


def check_compiler(device: torch.device) -> None:
    """Raise ValueError unless something small can be compiled for ``device``."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(2, device=device))
    except Exception as error:  # of which PyTorch has many kinds
        raise ValueError(
            f"train.compile=true, but nothing can be compiled here ({first_line(error)}). It needs "
            "a C++ compiler (g++ or clang++), and Triton on a GPU. Install one, or set "
            "train.compile=false."
        ) from error


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


class CompiledForward:
    """A module's ``forward``: compiled where gradients are wanted in training, else as it was.

    The first such call computes values and gradients both ways. If they differ by more than
    rounding can explain, or the compiler fails, the module goes on uncompiled, with a warning in
    the log.

    Args:
        name: of the module, for messages.
        module: takes tensors, and lists and tuples of them.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self.plain: Callable[..., Any] = module.forward
        # Only the number of regions differs from step to step. With sizes of maps left open,
        # the compiler of torch 2.11 breaks.
        dynamic = None if "box_head" in name else False
        self.compiled: Callable[..., Any] = torch.compile(self.plain, dynamic=dynamic)
        self.checked = False

    def __call__(self, *inputs: Any) -> Any:
        """What ``forward`` gives."""
        if not (self.module.training and torch.is_grad_enabled()):
            return self.plain(*inputs)
        if not self.checked:
            self._check(inputs)
        return self.compiled(*inputs)

    def _check(self, inputs: Sequence[Any]) -> None:
        self.checked = True
        wrong = self._what_is_wrong(inputs)
        if wrong:
            self.compiled = self.plain
            logger.warning(f"{self.name} goes on uncompiled: {wrong}")

    def _what_is_wrong(self, inputs: Sequence[Any]) -> str:
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        with unnoticed(self.module):
            expected = values_and_gradients(self.plain, inputs, parameters)
        try:
            with unnoticed(self.module):
                found = values_and_gradients(self.compiled, inputs, parameters)
        except Exception as error:  # of which PyTorch has many kinds
            return f"the compiler failed ({first_line(error)})."
        tolerances = TOLERANCES
        if torch.is_autocast_enabled(next(self.module.parameters()).device.type):
            tolerances = TOLERANCES_HALF
        errors = [relative_error(*pair) for pair in zip(found, expected, strict=True)]
        if all(error <= limit for error, limit in zip(errors, tolerances, strict=True)):
            return ""
        return (
            f"compiled, its values are off by {errors[0]:.1e} and its gradients by "
            f"{errors[1]:.1e}; rounding would be {tolerances[0]:.0e} and {tolerances[1]:.0e}."
        )


def values_and_gradients(
    call: Callable[..., Any], inputs: Sequence[Any], parameters: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """All outputs of ``call``, and gradients of a weighted sum of them.

    Args:
        call: a pure function of tensors, of lists and of tuples of them.
        inputs: what it is called with; stays as it is.
        parameters: to differentiate by, besides the inputs that have gradients.
    """
    copies = [detached(x) for x in inputs]
    outputs = list(tensors_in(call(*copies)))
    generator = torch.Generator().manual_seed(0)
    weights = [torch.rand(x.shape, generator=generator).to(x.device) for x in outputs]
    total = torch.stack([(x * w).sum() for x, w in zip(outputs, weights, strict=True)]).sum()
    wanted = [x for x in tensors_in(copies) if x.requires_grad] + list(parameters)
    gradients = torch.autograd.grad(total, wanted, allow_unused=True)
    return [x.detach() for x in outputs], [x for x in gradients if x is not None]


def relative_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference of two tensors, relative to their norm; NaN if there is a NaN."""
    if [x.shape for x in found] != [x.shape for x in expected]:
        return float("inf")
    norms = [float(x.double().norm()) for x in expected]
    errors = [0.0]
    for a, b, norm in zip(found, expected, norms, strict=True):
        scale = max(norm, LEAST_SCALE * max(norms)) or 1.0
        errors.append(float((a.double() - b.double()).norm()) / scale)
    return float(torch.tensor(errors).max())


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """The tensors in lists and tuples, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from tensors_in(item)


def detached(tree: Any) -> Any:
    """The same with every tensor as a leaf of its own, with gradients where it had them."""
    if isinstance(tree, Tensor):
        return tree.detach().requires_grad_(tree.requires_grad)
    return type(tree)(map(detached, tree)) if isinstance(tree, list | tuple) else tree


@contextmanager
def unnoticed(module: nn.Module) -> Iterator[None]:
    """What runs inside leaves no trace: not in random generators, buffers or checkpoints' tally."""
    kept = [(x, x.clone()) for x in module.buffers()]
    with preserved_random_state(), saved_tensors_hooks(lambda x: x, lambda x: x):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in kept:
                    buffer.copy_(value)
