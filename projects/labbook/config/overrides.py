"""Apply ``key=value`` from the command line to a config; an unknown key is an error.

The grammar is hydra's, as in Detectron2's ``LazyConfig.apply_overrides``: ``a.b=1``,
``a.b=[1,2]``, ``a.b.0=1``, ``a={x:1}``, ``a=null``, ``+a.new=1``
(add), ``++a.b=1`` (add or change).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from labbook.config.signatures import ConfigError, nearest, parameter_names

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and leaves of a plain tree; an empty dict or list is a leaf."""
    if isinstance(value, Mapping):
        children = list(value.items())
    else:
        children = list(enumerate(value)) if isinstance(value, list) else []
    if not children:
        yield prefix, value
    for name, child in children:
        yield from flatten(child, f"{prefix}.{name}" if prefix else str(name))


def assignment(key: str, value: str) -> str:
    """The override that sets ``key`` to this very text, whatever characters it has."""
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


def apply_overrides(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Change ``cfg`` in place.

    A value given for an interpolated key replaces the interpolation; keys that depend on the
    changed one follow it.

    Raises:
        ConfigError: the text does not parse, the key is unknown (nearest name said), or the
            change is of a kind that is not supported (deletion, sweep).
    """
    for text in overrides:
        override = _parse(text)
        key = override.key_or_group
        _check_key(cfg, key, text, override)
        try:
            OmegaConf.update(cfg, key, override.value(), merge=True)
        except Exception as error:  # OmegaConf has many kinds; all of them mean a bad value
            raise ConfigError(f"'{text}' cannot be applied: {error}") from error


def _parse(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"'{text}' is not of the form key=value: {reason}") from error
    if override.is_delete():
        raise ConfigError(
            f"'{text}': deleting a key is not supported. Set it to null, or change the config file."
        )
    if override.is_sweep_override() or override.package is not None:
        raise ConfigError(
            f"'{text}' is hydra's syntax for sweeps or packages, which is not supported. For a "
            "list write key=[1,2]; for text with special characters write key='\"text\"'."
        )
    return override


def _check_key(cfg: DictConfig, key: str, text: str, override: Override) -> None:
    plain = OmegaConf.to_container(cfg, resolve=False)
    found, known = _walk(plain, key.split("."))
    rest = key.split(".")[known:]
    if rest and known and not isinstance(found, dict | list) and found is not None:
        start = ".".join(key.split(".")[:known])
        raise ConfigError(
            f"'{text}': {start} is {found!r} and has no keys below it. Change {start} itself, or "
            "the section that it points to."
        )
    if not rest and override.is_add() and not override.is_force_add():
        raise ConfigError(f"'{text}' adds a key that exists already; write it without the '+'.")
    if rest and not override.is_add():
        raise ConfigError(_unknown(plain, key, text, found, rest))


def _walk(tree: Any, parts: Sequence[str]) -> tuple[Any, int]:
    """The deepest node on the way along ``parts``, and how many of them lead to it."""
    for depth, part in enumerate(parts):
        if isinstance(tree, dict) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return tree, depth
    return tree, len(parts)


def _unknown(plain: Any, key: str, text: str, found: Any, rest: Sequence[str]) -> str:
    sections = (prefix for leaf, _ in flatten(plain) for prefix in _prefixes(leaf))
    message = f"'{text}': the config has no key '{key}'."
    target = found.get("_target_") if isinstance(found, dict) else None
    if len(rest) == 1 and isinstance(target, str) and rest[0] in parameter_names(target):
        return f"{message} {target} takes it, though; to add it, write '+{text}'."
    return message + nearest(key, set(sections)) + " A new key is added with '+key=value'."


def _prefixes(key: str) -> Iterator[str]:
    parts = key.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))
