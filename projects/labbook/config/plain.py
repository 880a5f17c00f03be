"""What a config holds, as data: the form that YAML keeps and ``instantiate`` builds again.

============================  =====================================================================
in a config file              in a loaded config
============================  =====================================================================
class or function             ``{_target_: pydoc.locate, path: torch.nn.ReLU}``
``functools.partial``         a call of ``copyreg.__newobj_ex__`` with ``args`` and ``kwargs``
tuple                         list
named tuple                   a call of its class
settings dataclass            a call of its class
call of a settings dataclass  the call, with the defaults of what it leaves out
any other object              the object itself: it runs, but no YAML can hold it (live)
============================  =====================================================================
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from omegaconf import DictConfig, OmegaConf

from labbook.config.signatures import locate, path_of
from labbook.config.trees import flatten, join

LIVE = "_live_"
"""Key under which a saved config holds the ``repr`` of a live object."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_SCALARS = (type(None), bool, int, float, str)


def to_data(value: Any, key: str = "") -> Any:
    """A raw container of OmegaConf as data; live objects stay as they are.

    Raises:
        ConfigError: the call at a dotted key names a class or function that does not exist.
    """
    if isinstance(value, DictConfig):  # a settings object that OmegaConf has opened
        fields: Any = OmegaConf.to_container(value, resolve=False)
        value = {**fields, "_target_": OmegaConf.get_type(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # as Detectron2's ShapeSpec
        value = {**cast(NamedTuple, value)._asdict(), "_target_": path_of(type(value))}
    if isinstance(value, dict):
        data = {
            name: _target(child) if name == "_target_" else to_data(child, join(key, name))
            for name, child in value.items()
        }
        return {**data, **_defaults_left_out(data, key)}
    if isinstance(value, list | tuple):
        return [to_data(child, join(key, index)) for index, child in enumerate(value)]
    return value if type(value) in _SCALARS else _importable(value)


def live_keys(tree: Any) -> list[str]:
    """Dotted keys of a plain tree that hold live objects, or what a saved config has of them."""
    return [
        key.removesuffix(f".{LIVE}")
        for key, value in flatten(tree).items()
        if key.endswith(f".{LIVE}") or type(value) not in (*_SCALARS, dict, list)
    ]


def without_live(tree: Any) -> Any:
    """A plain tree for YAML: a live object becomes ``{_live_: repr}``, without its address."""
    if isinstance(tree, Mapping):
        return {name: without_live(child) for name, child in tree.items()}
    if isinstance(tree, list):
        return [without_live(child) for child in tree]
    return tree if type(tree) in _SCALARS else {LIVE: _ADDRESS.sub("", repr(tree))}


def _target(value: Any) -> Any:
    if isinstance(value, DictConfig):  # Detectron2 0.5 lets OmegaConf open dataclass targets
        value = OmegaConf.get_type(value)
    if isinstance(value, Mapping):  # a call that gives the function to be called
        return to_data(dict(value))
    return (path_of(value) if callable(value) else None) or value


def _importable(value: Any) -> Any:
    """A class, a function or a partial of one as data, else the object itself."""
    if isinstance(value, functools.partial):
        function = _importable(value.func)
        if isinstance(function, dict):
            keywords = {name: to_data(child) for name, child in value.keywords.items()}
            return {
                "_target_": "copyreg.__newobj_ex__",
                "cls": _importable(functools.partial),
                "args": [function, *map(to_data, value.args)],
                "kwargs": keywords,
            }
    elif callable(value) and (path := path_of(value)):
        return {"_target_": "pydoc.locate", "path": path}
    return value


def _defaults_left_out(call: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Defaults of a settings dataclass for what a call does not set.

    So they can be overridden without a ``+``, and a saved config holds them even if the code's
    defaults change later.
    """
    target = call.get("_target_")
    target = locate(target, join(key, "_target_")) if isinstance(target, str) else target
    if not dataclasses.is_dataclass(target):
        return {}
    defaults = {}
    for item in dataclasses.fields(target):
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        if item.init and item.name not in call and default is not dataclasses.MISSING:
            defaults[item.name] = to_data(default)
    return defaults
