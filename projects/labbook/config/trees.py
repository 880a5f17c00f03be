"""Values of a config, in plain dicts and lists, by dotted key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from labbook.config.signatures import MISSING, nearest

_SHOWN = 120  # characters of a value on a line
_ABSENT = object()


def written(cfg: DictConfig) -> Any:
    """A config in plain dicts and lists, with its interpolations."""
    return OmegaConf.to_container(cfg, resolve=False)


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Values by dotted key; a list of plain values is one value, as is an empty dict."""
    if isinstance(tree, Mapping):
        children: Iterable[tuple[Any, Any]] = tree.items()
    else:
        children = () if _is_value(tree) else enumerate(tree)
    found: dict[str, Any] = {}
    for name, child in children:
        found.update(flatten(child, join(prefix, name)))
    return found or {prefix: tree}


def select(tree: Any, key: str, default: Any = MISSING) -> Any:
    """The value or branch at a dotted key; the default if there is none."""
    for part in key.split("."):
        if isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return default
    return tree


def is_key(tree: Any, key: str) -> bool:
    """Whether there is a value or branch at a dotted key."""
    return select(tree, key, _ABSENT) is not _ABSENT


def nearest_key(tree: Any, key: str, others: Iterable[str] = ()) -> str:
    """`` Did you mean 'x'?`` of the keys in a tree, their sections and some others; or nothing."""
    known = {prefix for leaf in flatten(tree) for prefix in prefixes(leaf)}
    return nearest(key, known.union(others))


def prefixes(key: str) -> Iterator[str]:
    """``a``, ``a.b`` and ``a.b.c`` of ``a.b.c``."""
    parts = key.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def below(key: str, parents: Iterable[str]) -> bool:
    """Whether a dotted key is one of ``parents`` or lies below one."""
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def join(key: str, name: Any) -> str:
    """The dotted key of what is called ``name`` at ``key``; "" is the whole tree."""
    return f"{key}.{name}" if key else str(name)


def value_text(value: Any) -> str:
    """A value as it is shown, on one line."""
    if isinstance(value, str):
        return "absent" if value == MISSING else value or '""'
    text = "null" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _is_value(value: Any) -> bool:
    """Whether there is nothing to look up below; a list with live objects in it is looked into."""
    if isinstance(value, list):
        return all(
            isinstance(child, str | int | float | None) or _is_list(child) for child in value
        )
    return not isinstance(value, Mapping)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and _is_value(value)
