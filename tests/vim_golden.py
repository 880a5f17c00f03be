"""Numbers of the official ViM code (see tests/golden/vim), as tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden" / "vim"


def golden(name: str) -> dict[str, Tensor]:
    """All arrays of one file."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def golden_names(pattern: str) -> list[str]:
    names = sorted(path.stem for path in GOLDEN.glob(f"{pattern}.npz"))
    assert names, pattern
    return names


def weights(arrays: dict[str, Tensor], prefix: str = "sd.") -> dict[str, Tensor]:
    """The state dict inside a golden file."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def relative_error(got: Tensor, want: Tensor) -> float:
    """Largest difference as a fraction of the largest wanted value."""
    assert got.shape == want.shape
    got, want = got.detach().double(), want.double()
    return float((got - want).abs().max() / want.abs().max())
