"""What autograd keeps for the backward pass, in MB, and rows of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from benchmarks.measure import Call, Row


class Saved(saved_tensors_hooks):
    """Adds up, while it is entered, the memory of what autograd keeps; each storage once.

    Of what is recomputed in the backward pass that is the inputs. All of it must live until the
    end, or memory that is used again counts once.

    Args:
        parameters: they are kept anyway and do not count.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__(self.note, lambda x: x)
        self._known = {x.untyped_storage().data_ptr() for x in parameters}
        self._kept: dict[int, int] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def note(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._kept[storage.data_ptr()] = storage.nbytes()
        return x

    @property
    def mb(self) -> float:
        return sum(self._kept.values()) / 1e6


def saved_mb(call: Call, parameters: Iterable[Tensor]) -> float:
    """What autograd keeps of one call, in MB."""
    with Saved(parameters) as saved:
        call()
    return saved.mb


def memory_row(name: str, reference: float, candidate: float, required: float) -> Row:
    """MB in the columns of ms."""
    return Row(name, reference, candidate, reference / candidate, required, 0.0)
