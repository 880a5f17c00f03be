"""Recurrent state as plain data: nested tuples of tensors, axis 0 of each being the streams.

``None`` stands for the start state, whole or in part, and means the same as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

State = Any  # None, a tensor (B, ...), or a tuple of states


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """``state`` with ``function`` applied to each tensor; its shape and its Nones stay."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return function(state)
    return tuple(map_state(function, part) for part in state)


def detach_state(state: State) -> State:
    """The same values without their history: gradients end here."""
    return map_state(Tensor.detach, state)


def reset_state(state: State, starts: Tensor) -> State:
    """``state`` with the streams that start anew set to zero.

    Args:
        state: state of B streams.
        starts: (B,), true for each stream whose next step is the first of a recording.

    Raises:
        ValueError: ``starts`` is not of B entries.
    """
    starts = torch.as_tensor(starts).bool()

    def reset(x: Tensor) -> Tensor:
        if starts.shape != x.shape[:1]:
            raise ValueError(
                f"The reset mask has shape {tuple(starts.shape)}, but the state is one of "
                f"{len(x)} streams; give one entry a stream."
            )
        mask = starts.to(x.device).view(-1, *[1] * (x.dim() - 1))
        return x.masked_fill(mask, 0)  # not a product: zero times infinity is no zero

    return map_state(reset, state)


def take_streams(state: State, streams: Sequence[int] | Tensor) -> State:
    """State of the streams at these positions, in this order; not a copy if it is all of them."""
    index = torch.as_tensor(streams, dtype=torch.long)
    places = index.tolist()

    def take(x: Tensor) -> Tensor:
        return x if places == list(range(len(x))) else x[index.to(x.device)]

    return map_state(take, state)


def join_streams(states: Sequence[State]) -> State:
    """State of a batch, from one state for each of its streams (B = 1), which may be None.

    A single stream's is not copied.

    Raises:
        ValueError: the states are of different models.
    """
    known = [state for state in states if state is not None]
    if not known:
        return None
    if len(states) == 1:
        return states[0]
    if all(isinstance(state, Tensor) for state in known):
        zero = torch.zeros_like(known[0])
        return torch.cat([zero if state is None else state for state in states])
    lengths = {len(state) for state in known if isinstance(state, tuple)}
    if len(lengths) != 1 or any(isinstance(state, Tensor) for state in known):
        raise ValueError(
            "The states to join do not have the same parts, so they are of different models; "
            "start the streams anew (None) after a change of model."
        )
    parts = range(lengths.pop())
    return tuple(join_streams([s if s is None else s[i] for s in states]) for i in parts)
