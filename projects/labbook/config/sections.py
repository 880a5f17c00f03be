"""Which keys of a config a run reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from labbook.config.signatures import ConfigError, nearest

DETECTRON2 = ("train", "dataloader", "optimizer", "lr_multiplier", "model")
"""The sections that a run cannot do without."""
SECTIONS = ("experiment", "dataset", "evaluation", *DETECTRON2)
"""All sections that a run reads."""
SPLITS = {"dataloader": ("train", "valid", "test", "evaluator"), "evaluation": ("valid", "test")}
"""Plain sections, with the entries that a run reads; others are there to be referred to, as
``${dataloader.image_size}``."""


def unread_keys(tree: Mapping[str, Any]) -> list[str]:
    """Sections, and entries of plain sections, that no run reads and no interpolation names.

    Args:
        tree: a config in plain dicts and lists, with its interpolations.
    """
    keys = [name for name in tree if name not in SECTIONS]
    for section, names in SPLITS.items():
        keys += [f"{section}.{name}" for name in _entries(tree, section) if name not in names]
    written = str(tree)
    return [key for key in keys if not _is_named(key, written)]


def check_present(tree: Mapping[str, Any]) -> None:
    """Refuse a config without the sections that a run needs.

    Raises:
        ConfigError: with the names of those that it lacks.
    """
    if missing := [name for name in DETECTRON2 if name not in tree]:
        raise ConfigError(
            f"It lacks {', '.join(missing)}. Import them from its parent (LazyConfig.load_rel) or "
            "from configs/common."
        )


def refuse_unread(tree: Mapping[str, Any], key: str) -> None:
    """Say that nothing reads a key, with the nearest of those that are read.

    Raises:
        ConfigError: always.
    """
    section, _, name = key.rpartition(".")
    if not section:
        raise ConfigError(
            f"'{key}' is not one of the sections {', '.join(SECTIONS)}.{nearest(key, SECTIONS)} "
            "The name of a helper in a config file starts with an underscore."
        )
    read = {*SPLITS[section], *_entries(tree, section)} - {name}
    raise ConfigError(
        f"Nothing reads {key}.{nearest(key, [f'{section}.{other}' for other in read])} An entry of "
        f"that section is a split, or a value that others refer to as ${{{key}}}."
    )


def _entries(tree: Mapping[str, Any], section: str) -> list[str]:
    """Names in a plain section; none if it is absent or a call."""
    node = tree.get(section)
    return list(node) if isinstance(node, Mapping) and "_target_" not in node else []


def _is_named(key: str, written: str) -> bool:
    """Whether ``${key}``, or a relative ``${..name}``, stands in the text of a config."""
    name = re.escape(key.rpartition(".")[2])
    return bool(re.search(rf"\$\{{({re.escape(key)}|\.+{name})[.}}]", written))
