"""What a recurrent detector remembers of each stream between two chunks of a recording."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from smalldet.detectors.recurrent_samples import Sample, stream_of
from smalldet.layers.recurrent_state import (
    State,
    detach_state,
    join_streams,
    map_state,
    take_streams,
)

logger = logging.getLogger(__name__)


class StreamMemory:
    """Recurrent states by stream, each of one stream (B = 1) and without history.

    A plain object, no module: what DistributedDataParallel and ``state_dict()`` see is the same
    with and without it.
    """

    def __init__(self) -> None:
        self._states: dict[Hashable, State] = {}

    def recall(self, samples: Sequence[Sample], device: torch.device) -> State:
        """State of a batch: zeros for each stream that starts anew or was never seen.

        A stream that goes on without having been seen is reported: it lacks its past.
        """
        going_on = [stream_of(sample) for sample in samples if not sample["is_first"]]
        unknown = [stream for stream in going_on if stream not in self._states]
        if unknown:
            logger.warning(
                "Streams %s go on in the middle of a recording, but their state is not known (a "
                "resume without it, or a loader that does not mark the first chunk). They go on "
                "from zeros.",
                unknown,
            )
        states = [
            None if sample["is_first"] else self._states.get(stream_of(sample))
            for sample in samples
        ]
        return map_state(lambda x: x.to(device), join_streams(states))

    def keep(self, sample: Sample, state: State, position: int) -> None:
        """Remember this sample's part of a batch's ``state`` for its stream; gradients end here."""
        self._states[stream_of(sample)] = detach_state(take_streams(state, [position]))

    def clear(self) -> None:
        """Forget every stream."""
        self._states.clear()

    def __len__(self) -> int:
        return len(self._states)

    def state_dict(self, on_cpu: bool = True) -> dict[Hashable, State]:
        """All states: on the CPU, as a checkpoint takes them, or where they are."""
        if not on_cpu:
            return dict(self._states)
        return {stream: map_state(Tensor.cpu, state) for stream, state in self._states.items()}

    def load_state_dict(self, states: Mapping[Hashable, State]) -> None:
        """Take over what :meth:`state_dict` gave, and forget the rest."""
        self._states = dict(states)
