"""Numbers of the official ViM code (see tests/golden/vim), as tensors."""

from __future__ import annotations

from torch import Tensor

import toy_detection
from toy_detection import relative_error, state_of

__all__ = ["GOLDEN", "golden", "golden_names", "relative_error", "weights"]
GOLDEN = toy_detection.GOLDEN / "vim"


def golden(name: str) -> dict[str, Tensor]:
    """All arrays of one file."""
    return toy_detection.golden(f"vim/{name}.npz")


def golden_names(pattern: str) -> list[str]:
    names = sorted(path.stem for path in GOLDEN.glob(f"{pattern}.npz"))
    assert names, pattern
    return names


def weights(arrays: dict[str, Tensor], prefix: str = "sd.") -> dict[str, Tensor]:
    """The state dict inside a golden file."""
    return state_of(arrays, prefix)
