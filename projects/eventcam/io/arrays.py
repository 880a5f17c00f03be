"""Reading numpy files and guarding libraries against damaged bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from eventcam.errors import EventDataError


@contextmanager
def damage_reported(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises on damaged bytes into one sentence.

    Which exception that is depends on the byte: numpy, zipfile and h5py were seen to raise nine
    kinds, ``tokenize.TokenError`` among them, for files with a few changed or missing bytes.

    Args:
        path: the file that is read.
        what: it is read as, such as "an array".

    Raises:
        EventDataError: instead of any other exception.
    """
    try:
        yield
    except EventDataError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise EventDataError(
            f"{path} cannot be read as {what} ({reason}). Copy or make it again."
        ) from error


def load_array(path: Path, what: str = "an array") -> np.ndarray:
    """The array of a ``.npy`` file; objects are never unpickled.

    Raises:
        EventDataError: missing or damaged.
    """
    with damage_reported(path, what), path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def load_arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Named arrays of a ``.npz`` file; objects are never unpickled.

    Raises:
        EventDataError: missing or damaged.
    """
    what = f"arrays named {', '.join(names)}"
    with damage_reported(path, what), path.open("rb") as file, NpzFile(file) as content:
        return [content[name] for name in names]


def load_indices(path: Path) -> np.ndarray:
    """The whole numbers (N,) int64 of a ``.npy`` file, such as times or places of frames.

    Raises:
        EventDataError: missing or damaged, or an array of another kind.
    """
    return as_indices(load_array(path), path)


def as_indices(values: np.ndarray, path: Path) -> np.ndarray:
    """An array read from ``path`` as (N,) int64.

    Raises:
        EventDataError: it has another kind or more dimensions.
    """
    if values.ndim != 1 or (len(values) and values.dtype.kind not in "iu"):
        raise EventDataError(
            f"{path} holds {values.dtype} of shape {values.shape}; expected is a list of whole "
            "numbers. Copy or make it again."
        )
    return values.astype(np.int64)
