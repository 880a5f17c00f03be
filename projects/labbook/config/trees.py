"""Values of a config, in plain dicts and lists, by dotted key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labbook.config.signatures import MISSING

_SHOWN = 120  # characters of a value on a line


def leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Values by dotted key; a list without dicts in it is one value, as is an empty dict."""
    found: dict[str, Any] = {}
    for name, child in _children(tree):
        found.update(leaves(child, f"{prefix}.{name}" if prefix else str(name)))
    return found or {prefix: tree}


def select(tree: Any, key: str) -> Any:
    """The value or branch at a dotted key; :data:`MISSING` if there is none."""
    for part in key.split("."):
        if isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return MISSING
    return tree


def prefixes(key: str) -> Iterator[str]:
    """``a``, ``a.b`` and ``a.b.c`` of ``a.b.c``."""
    parts = key.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def below(key: str, parents: Iterable[str]) -> bool:
    """Whether a dotted key is one of ``parents`` or lies below one."""
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def value_text(value: Any) -> str:
    """A value as it is shown, on one line."""
    if isinstance(value, str):
        return "absent" if value == MISSING else value or '""'
    text = "null" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _children(tree: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(tree, Mapping):
        return tree.items()
    return enumerate(tree) if _holds_dicts(tree) else ()


def _holds_dicts(value: Any) -> bool:
    return isinstance(value, list) and any(
        isinstance(child, Mapping) or _holds_dicts(child) for child in value
    )
