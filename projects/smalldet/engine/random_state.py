"""Capturing and restoring every random generator that training draws from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def capture_random_state() -> dict[str, Any]:
    """State of Python's, NumPy's and torch's generators, as ``weights_only`` loading takes it."""
    numpy_state: Any = np.random.get_state()  # a tuple; NumPy's stub has it a dict as well
    name, keys, position, has_gauss, cached = numpy_state
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Put all generators into a state that :func:`capture_random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Whatever the block draws, training goes on as if it had drawn nothing."""
    state = capture_random_state()
    try:
        yield
    finally:
        restore_random_state(state)
