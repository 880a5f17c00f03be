"""Reading weight files that others have published, safely."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

CONTAINER_KEYS = ("model", "model_ema", "state_dict")
LEAST_MATCHED = 0.95  # of a model's tensors must be in a file that is loaded into it
MOST_NAMES = 6  # names listed in a message before "and N more"


class CheckpointError(ValueError):
    """A weight file that cannot be used as it is configured; the message says what to do."""


def read_checkpoint(path: str | Path, what: str, remedy: str) -> dict[str, Tensor]:
    """The tensors of a weight file by name, out of its container and without "module." prefix.

    Only tensors, plain values and ``argparse.Namespace`` (which published files hold) are
    unpickled, so a hostile file cannot run code.

    Args:
        path: the file.
        what: it should be, as "ViM weights", for the message.
        remedy: what to do if it is not there, for the same.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, or holds no tensors by name.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There are no {what} at {path}: {remedy}")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on arbitrary bytes the unpickler may fail in any way
        reason = str(error).strip().split("\n")[0][:200]
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch weight file ({type(error).__name__}: {reason}). "
            "It may be damaged or incomplete (download it again), or hold Python objects other "
            "than tensors, which are refused because they could run foreign code."
        ) from error
    return _named_tensors(content, path)


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    shown = ", ".join(names[:MOST_NAMES]) or "nothing"
    return shown + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _named_tensors(content: object, path: Path) -> dict[str, Tensor]:
    """Look into the known containers in order, then at the file's own top level."""
    top = content if isinstance(content, Mapping) else {}
    places = [*(top[key] for key in CONTAINER_KEYS if key in top), top]
    state = next((place for place in places if _holds_tensors(place)), None)
    if state is None:
        raise CheckpointError(
            f"{path} holds {type(content).__name__} with keys {listed(map(str, top))}, but "
            f"expected were tensors by name, bare or under {', '.join(CONTAINER_KEYS)}."
        )
    tensors = {str(name).removeprefix("module."): value for name, value in state.items()}
    odd = sorted(name for name, value in tensors.items() if not isinstance(value, Tensor))
    if odd:
        raise CheckpointError(f"{path} has entries that are no tensors: {listed(odd)}.")
    return tensors


def _holds_tensors(place: object) -> bool:
    return isinstance(place, Mapping) and any(isinstance(v, Tensor) for v in place.values())
