"""Pickled weights of other programs: arrays are taken, code is not run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from smalldet.engine.weights import load_start_weights


class Command:
    """Runs when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.file}'",)


def model() -> torch.nn.Linear:
    return torch.nn.Linear(2, 3)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_loaded(protocol: int, tmp_path: Path) -> None:
    weights = {"weight": np.arange(6, dtype=np.float32).reshape(3, 2), "bias": np.ones(3, "f4")}
    content = {"model": weights, "__author__": "somebody", "epoch": np.float64(3)}
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    load_start_weights(loaded := model(), str(path))
    assert torch.equal(loaded.weight, torch.arange(6.0).reshape(3, 2))


def test_code_is_not_run(tmp_path: Path) -> None:
    path, here = tmp_path / "weights.pkl", tmp_path / "here"
    path.write_bytes(pickle.dumps({"model": {"weight": Command(here)}, "__author__": "x"}))
    with pytest.raises(ValueError, match=r"posix.system, which would run.*arrays"):
        load_start_weights(model(), str(path))
    assert not here.exists()
