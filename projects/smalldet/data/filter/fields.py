"""What a field of an annotation file is, whatever a program or a mistake has written there."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

_LONGEST = 120  # characters of an example


def is_id(value: Any) -> bool:
    """Whether a value can be an id: a whole number or a text, and no truth value."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def has_id(entry: Mapping[str, Any]) -> bool:
    """Whether the entry's id can be looked up."""
    return is_id(entry.get("id"))


def as_number(value: Any) -> float | None:
    """A number, infinite if too large for a float; None of anything else, truth values too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def is_set(value: Any) -> bool:
    """Whether a flag is set; Python takes any text for true, ``"0"`` and ``"false"`` too."""
    return (
        value.strip().lower() not in ("", "0", "false") if isinstance(value, str) else bool(value)
    )


def shown(value: Any) -> str:
    """A value as a short text that can be printed, however long or nested it is."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text[:_LONGEST].encode(errors="replace").decode()
