"""Check the calls written in a config against the functions and classes that they name.

A call is a dict with ``_target_``, the dotted import path of a callable; its other keys are the
keyword arguments. Nothing is called here: only signatures and annotations are read.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import logging
import os
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import PurePath
from typing import Any

logger = logging.getLogger(__name__)

MISSING = "???"
"""OmegaConf's mark for a value that the program fills in later."""

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_SCALARS = {bool: bool, int: int, float: float | int, str: str, types.NoneType: types.NoneType}
_LISTS = (list, tuple, set, frozenset, abc.Sequence, abc.Iterable, abc.Collection)
_DICTS = (dict, abc.Mapping, abc.MutableMapping)


class ConfigError(ValueError):
    """A config that cannot be used as written; the message is a sentence for its author."""


def nearest(name: str, known: abc.Iterable[str]) -> str:
    """`` Did you mean 'x'?`` (with its leading space), or nothing if no known name is near."""
    close = get_close_matches(name, sorted(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def locate(path: str, key: str = "_target_") -> Any:
    """The object at a dotted import path.

    Args:
        path: as ``torch.optim.AdamW`` or ``package.module.Class.method``.
        key: the config key that holds it, for the error sentence.

    Raises:
        ConfigError: the module cannot be imported or has no such attribute.
    """
    parts = path.split(".")
    found, rest = _import_prefix(parts, key)
    for name in rest:
        if not hasattr(found, name):
            raise ConfigError(
                f"{key} names {path}, but {getattr(found, '__name__', found)} has no '{name}'."
                + nearest(name, dir(found))
            )
        found = getattr(found, name)
    return found


def path_of(target: Callable) -> str | None:
    """The import path of a callable, the inverse of :func:`locate`.

    None if it cannot be imported by name, as a lambda, a closure, a bound method, or what a config
    file itself defines.
    """
    path = f"{getattr(target, '__module__', None)}.{getattr(target, '__qualname__', None)}"
    try:
        return path if locate(path) == target else None
    except ConfigError:
        return None


def check_calls(value: Any, key: str = "", *, names_only: bool = False) -> None:
    """Check every call inside ``value`` (plain dicts, lists and scalars).

    Args:
        value: a plain tree.
        key: dotted key of ``value``, for the error sentence.
        names_only: leave out the check for missing arguments and for types: Detectron2's own
            configs fill arguments in later, and its annotations are not always true.

    Raises:
        ConfigError: a call has an argument that its target does not take, lacks one that the
            target needs, or gives one a value of the wrong type; full key and nearest name said.
    """
    if isinstance(value, Mapping):
        if "_target_" in value:
            _check_call(value, key, names_only)
        for name, child in value.items():
            check_calls(child, f"{key}.{name}" if key else str(name), names_only=names_only)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            check_calls(child, f"{key}.{index}", names_only=names_only)


def defaults_of(path: str) -> dict[str, Any]:
    """Defaults of the arguments of the callable at ``path``; :data:`MISSING` where one has none."""
    found = _parameters(locate(path)) or {}
    return {name: MISSING if p.default is p.empty else p.default for name, p in found.items()}


def _import_prefix(parts: list[str], key: str) -> tuple[Any, list[str]]:
    path = ".".join(parts)
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        try:
            return importlib.import_module(module), parts[end:]
        except ModuleNotFoundError as error:
            if error.name and (module == error.name or module.startswith(error.name + ".")):
                continue
            raise ConfigError(f"{key} names {path}, but importing it fails: {error}.") from error
        except Exception as error:
            raise ConfigError(f"{key} names {path}, but importing it fails: {error!r}.") from error
    raise ConfigError(
        f"{key} names {path}, but there is no module '{parts[0]}'. Give the full import path of a "
        "function or class."
    )


@cache
def _parameters(target: Callable) -> dict[str, inspect.Parameter] | None:
    """Parameters by name, or None if the target tells nothing about them."""
    try:
        return dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return None


def _check_call(call: Mapping[str, Any], key: str, names_only: bool) -> None:
    path = call["_target_"]
    if isinstance(path, Mapping):  # a call that gives the function to be called
        return
    target = locate(path, f"{key}._target_") if isinstance(path, str) else path
    if not callable(target):
        raise ConfigError(f"{key}._target_ names {path}, which cannot be called.")
    parameters = _parameters(target) if isinstance(target, abc.Hashable) else None
    if parameters is None:
        return
    kinds = {parameter.kind for parameter in parameters.values()}
    named = {name: p for name, p in parameters.items() if p.kind in _NAMED}
    given = {str(name): value for name, value in call.items() if name != "_target_"}
    unknown = [name for name in given if name not in named]
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        near = nearest(unknown[0], named)
        raise ConfigError(f"{key}.{unknown[0]} is not an argument of {path}.{near}")
    if names_only:
        return
    for name, parameter in named.items():
        if name not in given and parameter.default is parameter.empty:
            raise ConfigError(
                f"{key}.{name} is missing: {path} needs it.{nearest(name, unknown)} Set it, or "
                f"write '{MISSING}' if the program fills it in."
            )
    hints = _hints(target)
    for name, value in given.items():
        if name in named and name in hints:
            _check_type(value, hints[name], named[name], f"{key}.{name}", path)


@cache
def _hints(target: Callable) -> dict[str, Any]:
    """Resolved annotations by parameter name; none where they cannot be resolved."""
    is_plain_class = inspect.isclass(target) and not dataclasses.is_dataclass(target)
    try:
        return typing.get_type_hints(target.__init__ if is_plain_class else target)
    except Exception as error:  # annotations of other people's code may name anything
        logger.debug("types of the arguments of %s are not checked: %r", target, error)
        return {}


def _check_type(value: Any, hint: Any, parameter: inspect.Parameter, key: str, path: str) -> None:
    # A default is always allowed: ``size: int = None`` is common in older code.
    is_default = type(value) is type(parameter.default) and value == parameter.default
    if is_default or fits(value, hint):
        return
    wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
    raise ConfigError(
        f"{key} is {value!r} ({type(value).__name__}), but {path} expects {wanted} there."
    )


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value can stand for an annotation.

    Calls, interpolations, values that are filled in later and unknown kinds of annotation fit.
    """
    if isinstance(value, Mapping) and "_target_" in value:
        return True
    if isinstance(value, str) and (value == MISSING or "${" in value):
        return True
    hint = types.NoneType if hint is None else hint
    if hint in _SCALARS:
        return isinstance(value, _SCALARS[hint]) and (hint is bool or not isinstance(value, bool))
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin in _LISTS:
        inner = [argument for argument in arguments if argument is not Ellipsis]
        return isinstance(value, list) and all(
            not inner or any(fits(entry, argument) for argument in inner) for entry in value
        )
    if origin in _DICTS:
        return isinstance(value, Mapping) and all(
            len(arguments) < 2 or fits(entry, arguments[1]) for entry in value.values()
        )
    if origin is os.PathLike or (inspect.isclass(origin) and issubclass(origin, PurePath)):
        return isinstance(value, str)
    # Settings and other objects with methods of their own are calls, handled above.
    return not (dataclasses.is_dataclass(origin) or _is_protocol(origin))


def _is_protocol(hint: Any) -> bool:
    """Whether it is a ``Protocol``, and none of Python's own, which numbers fit."""
    return getattr(hint, "_is_protocol", False) and hint.__module__ != "typing"
