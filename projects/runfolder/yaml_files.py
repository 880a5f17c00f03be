"""YAML files of run folders, read quickly: as OmegaConf reads them, with libyaml where it is there.

Tables and plans read hundreds of configs; the scanner in Python takes most of that time.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_omega_conf_dumper, get_yaml_loader
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

_SlowLoader: Any = get_yaml_loader()  # plain data alone; no key twice; 1e3 is a number
_DEEPER = re.compile(r"[\[{]|[-?](?=\s)")
_DEEPEST, _LONGEST = 1000, 1 << 20
"""What may open no more lists than that, in so many characters, is safe: libyaml takes any depth
until the process dies."""


def _loader() -> Any:
    try:
        from yaml._yaml import CParser  # type: ignore[import-untyped]
    except ImportError:  # PyYAML was built without
        return _SlowLoader

    class Loader(CParser, _SlowLoader):
        def __init__(self, stream: Any) -> None:
            CParser.__init__(self, stream)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

    return Loader


_FastLoader = _loader()


def read_yaml(path: Path) -> Any:
    """The content of a YAML file: dicts, lists, texts, numbers, truth values and None.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no YAML, or holds other things.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not plain YAML: {error}") from error


def parse_yaml(text: str) -> Any:
    """As :func:`read_yaml`, of a text.

    Raises:
        ValueError: it is no YAML, or holds other things.
    """
    try:
        is_short = len(text) <= _LONGEST and len(_DEEPER.findall(text)) <= _DEEPEST
        content = yaml.load(text, Loader=_FastLoader if is_short else _SlowLoader)
        _check_plain(content)
        return content
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def to_yaml(tree: Any) -> str:
    """A plain tree as OmegaConf writes it: a text that looks like a number or a truth is quoted."""
    return yaml.dump(tree, Dumper=get_omega_conf_dumper(), sort_keys=False, allow_unicode=True)


def _check_plain(value: Any) -> None:
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str | int | float):
                raise ValueError(f"a name in it is {key!r}")
            _check_plain(child)
    elif isinstance(value, list):
        for child in value:
            _check_plain(child)
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"it holds {type(value).__name__} {value!r}")
