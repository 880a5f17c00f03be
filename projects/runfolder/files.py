"""Files that are either the old or the new version, whatever interrupts the writer."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace ``path`` by strict JSON: NaN and infinities become null."""
    write_text(path, json.dumps(strict(content), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in ``path``; None if there is no such file.

    Raises:
        ValueError: the file holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}. Restore or remove it.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object. Restore or remove it.")
    return content


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
