"""Which keys of a config a run reads; what else is in a config is refused or said."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labbook.config.plain import live_keys
from labbook.config.signatures import ConfigError, nearest
from labbook.config.trees import select

logger = logging.getLogger(__name__)

_REQUIRED = ("train", "dataloader", "optimizer", "lr_multiplier", "model")
SECTIONS = ("experiment", "dataset", "evaluation", *_REQUIRED)
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


def check_sections(tree: Mapping[str, Any], path: Path, is_ours: bool) -> None:
    """Refuse what a config of ours must not hold; of one of others, log what nothing reads.

    The record of a config with live objects is refused. A saved config refers to nothing any more,
    so it may have entries that nothing reads.

    Args:
        tree: a config in plain dicts and lists, with its interpolations.
        path: its file, or its record (.yaml).
        is_ours: whether it declares an experiment.

    Raises:
        ConfigError: with the keys at fault.
    """
    is_record = path.suffix == ".yaml"
    live, unread = live_keys(tree), [] if is_record else unread_keys(tree)
    if live and is_record:
        raise ConfigError(
            f"It cannot be loaded again: {', '.join(live)} held objects that YAML cannot keep. "
            "Use the config file that the run was started with."
        )
    if not is_ours:
        if unread:
            logger.warning("%s: nothing reads %s.", path, ", ".join(unread))
        return
    if missing := [name for name in _REQUIRED if name not in tree]:
        raise ConfigError(
            f"It lacks {', '.join(missing)}. Import them from its parent (LazyConfig.load_rel) or "
            "from configs/common."
        )
    refuse_unread(tree, unread)
    if live:
        value = select(tree, live[0])
        raise ConfigError(
            f"{live[0]} is {value!r}, a live object of type {type(value).__name__} that cannot be "
            "imported by name. A config holds numbers, strings, lists, dicts, LazyCalls, classes "
            "and functions, so that it can be saved and loaded again."
        )


def refuse_unread(tree: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Refuse keys that nothing reads, if there are any.

    Raises:
        ConfigError: with the first of them and the nearest of those that are read.
    """
    if not keys:
        return
    section, _, name = keys[0].rpartition(".")
    if not section:
        raise ConfigError(
            f"'{name}' is not one of the sections {', '.join(SECTIONS)}.{nearest(name, SECTIONS)} "
            "The name of a helper in a config file starts with an underscore."
        )
    read = {*SPLITS[section], *_entries(tree, section)} - {name}
    near = nearest(keys[0], [f"{section}.{other}" for other in read])
    raise ConfigError(
        f"Nothing reads {keys[0]}.{near} An entry of that section is a split, or a value that "
        f"others refer to as ${{{keys[0]}}}."
    )


def _entries(tree: Mapping[str, Any], section: str) -> list[str]:
    """Names in a plain section; none if it is absent or a call."""
    node = tree.get(section)
    return list(node) if isinstance(node, Mapping) and "_target_" not in node else []


def _is_named(key: str, written: str) -> bool:
    """Whether ``${key}``, or a relative ``${..name}``, stands in the text of a config."""
    name = re.escape(key.rpartition(".")[2])
    return bool(re.search(rf"\$\{{({re.escape(key)}|\.+{name})[.}}]", written))
