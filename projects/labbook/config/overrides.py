"""Apply ``key=value`` from the command line to a config; an unknown key is an error.

The grammar is hydra's, as in Detectron2's ``LazyConfig.apply_overrides``: ``a.b=1``,
``a.b=[1,2]``, ``a.b.0=1``, ``a={x:1}``, ``a=null``, ``+a.new=1``
(add), ``++a.b=1`` (add or change).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from labbook.config.signatures import MISSING, ConfigError, defaults_of
from labbook.config.trees import is_key, join, nearest_key, prefixes, select, written

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def assignment(key: str, value: str) -> str:
    """The override that sets ``key`` to this very text, whatever characters it has."""
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


def present_overrides(tree: Any, wanted: Mapping[str, Any]) -> list[str]:
    """``key=value`` for each of these keys that a resolved config has; the others are left out."""
    return [f"{key}={value}" for key, value in wanted.items() if select(tree, key) != MISSING]


def each_of(text: str) -> list[str]:
    """``key=a`` and ``key=b`` of ``key=a,b``, as hydra writes a choice of values.

    Raises:
        ConfigError: the text does not parse, or is a choice without an end.
    """
    from hydra.errors import HydraException

    override = _parse(text)
    if not override.is_sweep_override():
        return [text]
    try:
        values = list(override.sweep_string_iterator())
    except HydraException as error:
        raise ConfigError(f"'{text}' names no values: write key=a,b.") from error
    key = text.partition("=")[0]
    return [f"{key}={value}" for value in values]


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
        _check_kind(override, text)
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
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"'{text}' is not of the form key=value: {reason}") from error


def _check_kind(override: Override, text: str) -> None:
    if override.is_delete():
        raise ConfigError(
            f"'{text}': deleting a key is not supported. Set it to null, or change the config file."
        )
    if override.is_sweep_override() or override.package is not None:
        raise ConfigError(
            f"'{text}' is hydra's syntax for sweeps or packages, which is not supported. For a "
            "list write key=[1,2]; for text with special characters write key='\"text\"'."
        )


def _check_key(cfg: DictConfig, key: str, text: str, override: Override) -> None:
    plain = written(cfg)
    if is_key(plain, key):
        if override.is_add() and not override.is_force_add():
            raise ConfigError(f"'{text}' adds a key that exists already; write it without the '+'.")
        return
    section = max((name for name in prefixes(key) if is_key(plain, name)), key=len, default="")
    found = select(plain, section) if section else plain
    if not isinstance(found, dict | list | None):
        raise ConfigError(
            f"'{text}': {section} is {found!r} and has no keys below it. Change {section} itself, "
            "or the section that it points to."
        )
    if not override.is_add():
        raise ConfigError(f"'{text}': the config has no key '{key}'.{_advice(plain, key, text)}")


def _advice(plain: Any, key: str, text: str) -> str:
    section, _, name = key.rpartition(".")
    target = select(plain, join(section, "_target_"))
    if isinstance(target, str) and target != MISSING and name in defaults_of(target):
        return f" {target} takes it, though; to add it, write '+{text}'."
    return f"{nearest_key(plain, key)} A new key is added with '+key=value'."
