"""Values of configs as Python source."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

WIDTH = 100
"""Characters of a line."""


def assignment(key: str, value: Any) -> str:
    """A dotted key set to a value in Python, as ``model.head.sizes[0] = 8``.

    Raises:
        ValueError: its first part, or the name of an argument in the value, is no identifier.
    """
    first, *rest = key.split(".")
    _check_identifier(first)
    steps = (f".{p}" if p.isidentifier() else f"[{p if p.isdigit() else code(p)}]" for p in rest)
    place = f"{first}{''.join(steps)} = "
    return place + code(value, len(place))


def code(value: Any, used: int = 0, indent: str = "") -> str:
    """A config's value as Python, a part a line if it does not fit after ``used`` characters."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if not isinstance(value, list | Mapping):
        return repr(value)
    opening, parts, closing = _parts(value)
    line = opening + ", ".join(name + code(child) for name, child in parts) + closing
    if used + len(line) <= WIDTH:
        return line
    inner = f"{indent}    "
    lines = [f"{inner}{n}{code(child, len(inner + n) + 1, inner)}," for n, child in parts]
    return "\n".join([opening, *lines, f"{indent}{closing}"])


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """What opens a list, a mapping or a call, its entries after their names, and what closes it."""
    if isinstance(value, list):
        return "[", [("", child) for child in value], "]"
    if "_target_" not in value:
        return "{", [(f"{code(str(name))}: ", child) for name, child in value.items()], "}"
    arguments = [(f"{name}=", child) for name, child in value.items() if name != "_target_"]
    for name in value:
        _check_identifier(name)
    return f"L({code(value['_target_'])})(", arguments, ")"


def _check_identifier(name: Any) -> None:
    """ValueError where a name of a config would be more than a name in Python."""
    if not str(name).isidentifier():
        raise ValueError(f"{name!r} cannot be a name in a config file; rename it in the config.")
