"""Files that are either the old or the new version, whatever interrupts the writer."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path, sync: bool = False) -> Iterator[Path]:
    """Yield a path to write to; its file becomes ``path`` in one step when the block ends well.

    The path lies in the same folder, which is made if need be, and has the same suffix. If the
    block raises, ``path`` stays as it was and what was written is removed; an OSError that names no
    file names ``path``.

    Args:
        path: the file to replace, there or not.
        sync: wait until the content is on the disk, so that even a power cut leaves one of the two.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        with naming(path):
            yield partial
            if sync:
                with partial.open("rb") as stream:
                    os.fsync(stream.fileno())
        partial.replace(path)
    finally:  # also if both were links to one file, which replacing leaves as they are
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """In the block, an OSError that names no file names ``path``: a full disk's does not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # without, its text is all that it shows
            error.filename = error.filename or str(path)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` in one step; UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace ``path`` by strict JSON: NaN and infinities become null."""
    write_text(path, json.dumps(strict(content), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in ``path``; None if there is no such file.

    Raises:
        ValueError: the file holds no JSON object, or numbers that are not finite.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, parse_int=_int, parse_float=_float, parse_constant=_float)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}. Restore or remove it.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object. Restore or remove it.")
    return content


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _int(text: str) -> int:
    _float(text)
    return int(text)


def strict(value: Any) -> Any:
    """``value`` as JSON can hold it: numpy and tensor scalars as numbers, non-finite as None."""
    if isinstance(value, Mapping):
        return {str(key): strict(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [strict(child) for child in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
