"""A step as it began: what the same step takes to be done once more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from detectron2.utils.events import get_event_storage
from fvcore.common.history_buffer import HistoryBuffer
from torch import nn

from smalldet.engine.distributed import unwrapped
from smalldet.engine.random_state import capture_random_state, restore_random_state

Batch = list[dict[str, Any]]


class StepStart:
    """What a step depends on besides the weights and the optimizer, which change at its end.

    Attributes of a model that are neither parameters nor buffers are not among it, but for the
    memory of a recurrent detector.

    Args:
        model: wrapped for several processes or not.
        micro_batches: of the step.
        with_buffers: keep a copy of the model's buffers, too, as of the statistics of batch norms.

    Attributes:
        micro_batches: as given.
        random: see :func:`capture_random_state`.
        recurrent: memory of the streams by stream, on the model's device; None of other models.
    """

    def __init__(self, model: nn.Module, micro_batches: list[Batch], with_buffers: bool) -> None:
        self.micro_batches = micro_batches
        self.random = capture_random_state()
        self._model: Any = unwrapped(model)
        has_memory = hasattr(self._model, "recurrent_state")
        self.recurrent = self._model.recurrent_state(on_cpu=False) if has_memory else None
        buffers = self._model.named_buffers() if with_buffers else ()
        self._buffers = {name: buffer.clone() for name, buffer in buffers}

    def restore(self) -> None:
        """Put generators, memory and, if they were kept, buffers back; forget what was logged."""
        storage = get_event_storage()
        for name, history in storage.histories().items():
            before = [(value, step) for value, step in history.values() if step < storage.iter]
            storage.histories()[name] = history_of(before)
        restore_random_state(self.random)
        if self.recurrent is not None:
            self._model.load_recurrent_state(self.recurrent)
        for name, buffer in self._model.named_buffers():
            if name in self._buffers:
                buffer.copy_(self._buffers[name])


def history_of(values: Iterable[tuple[float, float]]) -> HistoryBuffer:
    """The history of a logged value, from (value, step) in their order."""
    history = HistoryBuffer()
    for value, step in values:
        history.update(value, step)
    return history
