"""Load configs strictly, save them so that they reload equal, and tell two of them apart.

A config that loads here is data (:mod:`labbook.config.plain`), so a config file and the
``config.yaml`` of a run folder load alike. Detectron2 is imported only to load the former.
"""

from __future__ import annotations

import builtins
import logging
import os
import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, SCMode
from omegaconf.errors import OmegaConfBaseException

from labbook.config import resolvers as _resolvers  # noqa: F401  (registers them for ${...})
from labbook.config.experiment import told_by_file
from labbook.config.overrides import apply_overrides
from labbook.config.plain import live_keys, to_data, without_live
from labbook.config.signatures import MISSING, ConfigError, check_calls, nearest
from labbook.config.studies import real_config, toy_file
from labbook.config.trees import flatten
from runfolder.files import write_text

logger = logging.getLogger(__name__)

SECTIONS = (
    "experiment",
    "train",
    "dataset",
    "dataloader",
    "evaluation",
    "optimizer",
    "lr_multiplier",
    "model",
)
"""The top-level keys that a run reads."""

_DETECTRON2 = ("train", "dataloader", "optimizer", "lr_multiplier", "model")
"""Those that a run cannot do without."""

SPLITS = {
    "dataloader": ("train", "valid", "test", "evaluator"),
    "evaluation": ("valid", "test"),
}
"""Sections that are plain dicts, with the entries that a run reads; other entries are there to be
referred to, as ``${dataloader.image_size}``."""

LOADER_PACKAGE = "detectron2._cfg_loader"
"""Detectron2 runs config files in packages whose names start so."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Load a config file (.py, or the .yaml of a run folder) and check all of it.

    A config with a section ``experiment`` is one of ours and is checked strictly. Any other is
    Detectron2's or somebody's: it may lack sections, hold live objects and have keys of its own.

    Args:
        path: the file.
        overrides: ``key=value`` in hydra's grammar; ``+key=value`` adds a key.

    Returns:
        The config with its interpolations, closed to new keys.

    Raises:
        ConfigError: the file is missing or fails, it is the record of a config with live objects,
            an override names an unknown key, a call has an argument that its target does not
            take; in one of ours also: a section or key is unknown or missing, a value has the
            wrong type or is a live object.
    """
    path = Path(path)
    cfg = read_config(path)
    try:
        _check_live(cfg, path)
        known = _check_read(cfg, path)
        apply_overrides(cfg, overrides)
        if new := sorted(set(_unread(cfg)) - known):
            raise ConfigError(_unread_sentence(cfg, new[0]))
        names_only = not is_ours(cfg)
        # As written first: so the value at fault is named, not an interpolation that fails then.
        check_calls(OmegaConf.to_container(cfg, resolve=False), names_only=names_only)
        check_calls(to_plain(cfg), names_only=names_only)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    OmegaConf.set_struct(cfg, True)
    return cfg


def is_ours(cfg: DictConfig) -> bool:
    """Whether a config declares an experiment, and so is checked strictly."""
    return "experiment" in cfg


def save_config(cfg: DictConfig, folder: str | Path) -> None:
    """Write ``config.yaml`` (resolved) and ``config_source.yaml`` (with interpolations).

    A live object is written as ``{_live_: repr}``; :func:`load_config` refuses such a record.

    Raises:
        ConfigError: ``config.yaml`` would not reload equal.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    plain = without_live(to_plain(cfg))
    text = OmegaConf.to_yaml(OmegaConf.create(plain))
    reloaded = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    changed = sorted(_differences(plain, reloaded))
    if changed:
        raise ConfigError(f"The config would not reload equal from YAML: {', '.join(changed)}.")
    source = without_live(OmegaConf.to_container(cfg, resolve=False))
    write_text(folder / "config.yaml", text)
    write_text(folder / "config_source.yaml", OmegaConf.to_yaml(OmegaConf.create(source)))


def to_plain(cfg: Any) -> Any:
    """A config node as resolved dicts and lists.

    ``instantiate(to_plain(cfg.model))`` gives constructors lists where the node itself would give
    them OmegaConf's ListConfig.

    Raises:
        ConfigError: an interpolation cannot be resolved.
    """
    try:
        return OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        reason = str(error.msg or error).splitlines()[0]
        raise ConfigError(f"{key}{reason}") from error


def diff_configs(old: DictConfig, new: DictConfig) -> dict[str, tuple[Any, Any]]:
    """What changes from ``old`` to ``new`` once both are resolved.

    Returns:
        (old value, new value) by dotted key; :data:`MISSING` where a side lacks the key.
    """
    return _differences(to_plain(old), to_plain(new))


def _differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    before, after = flatten(old), flatten(new)
    pairs = {
        key: (before.get(key, MISSING), after.get(key, MISSING)) for key in {**before, **after}
    }
    return {key: (a, b) for key, (a, b) in pairs.items() if type(a) is not type(b) or a != b}


def read_config(path: Path) -> DictConfig:
    """A config file as data, unchecked.

    Raises:
        ConfigError: the file is missing or fails.
    """
    if path.suffix not in (".py", ".yaml"):
        raise ConfigError(f"{path} is no config: expected a .py or .yaml file.")
    real = real_config(path)
    if real is None and not path.is_file():
        folders = path.parent, path.parent.parent.parent / path.parent.name  # toy, real
        names = {other.name for folder in folders for other in folder.glob(f"*{path.suffix}")}
        raise ConfigError(f"There is no config file {path}.{nearest(path.name, names)}")
    loaded = _read_python(path) if path.suffix == ".py" else _read_yaml(path)
    raw: Any = OmegaConf.to_container(
        loaded, resolve=False, structured_config_mode=SCMode.DICT_CONFIG
    )
    if path.suffix == ".py" and isinstance(raw.get("experiment"), dict):
        raw["experiment"] = {**told_by_file(path, real or path), **raw["experiment"]}
    try:
        return OmegaConf.create(to_data(raw), flags={"allow_objects": True})  # type: ignore[return-value]
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_yaml(path: Path) -> DictConfig:
    try:
        loaded = OmegaConf.load(path)  # a safe loader: it builds no Python objects
    except Exception as error:
        raise ConfigError(f"{path} is not plain YAML: {error}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path} holds no sections; expected {', '.join(SECTIONS)}.")
    return loaded


def _read_python(path: Path) -> DictConfig:
    """Run a config file. Detectron2 leaves its import hook in place when that fails; not we."""
    from detectron2.config import LazyConfig

    genuine_import = builtins.__import__
    try:
        if real_config(path) is None:
            return LazyConfig.load(os.fspath(path))  # type: ignore[return-value]
        return LazyConfig.load(os.fspath(_toy_file(path)), "toy")(path.stem)  # type: ignore[operator]
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(_failure(path, error)) from error
    finally:
        builtins.__import__ = genuine_import


def _toy_file(path: Path) -> Path:
    file = toy_file(path.parent)
    if not file.is_file():
        raise ConfigError(
            f"There is no toy version {path}: {file} is missing, whose toy(name) would make it."
        )
    return file


def _failure(path: Path, error: Exception) -> str:
    """Where and why a config file failed; it may have failed inside a file that it imports."""
    cause = error.__cause__
    if isinstance(error, SyntaxError) and isinstance(cause, SyntaxError):
        return f"{path}: {error.msg} Line {cause.lineno}: {cause.msg}."
    place = str(path)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__package__") or "").startswith(LOADER_PACKAGE):
            place = f"{frame.f_code.co_filename}, line {line}"
    return f"{place}: {type(error).__name__}: {error}"


def _check_live(cfg: DictConfig, path: Path) -> None:
    """Refuse live objects in a config of ours, and the record of a config that had some."""
    keys = live_keys(OmegaConf.to_container(cfg, resolve=False))
    if not keys:
        return
    if path.suffix == ".yaml":
        raise ConfigError(
            f"It cannot be loaded again: {', '.join(keys)} held objects that YAML cannot keep. "
            "Use the config file that the run was started with."
        )
    if is_ours(cfg):
        shown = OmegaConf.to_container(cfg, resolve=False)
        value = flatten(shown)[keys[0]]
        raise ConfigError(
            f"{keys[0]} is {value!r}, a live object of type {type(value).__name__} that cannot be "
            "imported by name. A config holds numbers, strings, lists, dicts, LazyCalls, classes "
            "and functions, so that it can be saved and loaded again."
        )


def _check_read(cfg: DictConfig, path: Path) -> set[str]:
    """Keys that nothing reads: refused in a config file of ours, logged in one of others.

    Returns:
        Those that may stay: an override may take the last reference to what the file holds, and
        a saved config refers to nothing.
    """
    unread = _unread(cfg)
    if is_ours(cfg) and (missing := [name for name in _DETECTRON2 if name not in cfg]):
        raise ConfigError(
            f"It lacks {', '.join(missing)}. Import them from its parent (LazyConfig.load_rel) or "
            "from configs/common."
        )
    if path.suffix == ".py" and unread and is_ours(cfg):
        raise ConfigError(_unread_sentence(cfg, unread[0]))
    if path.suffix == ".py" and unread:
        logger.warning("%s: nothing reads %s.", path, ", ".join(unread))
    entries = [f"{section}.{name}" for section in SPLITS for name in _entries(cfg, section)]
    return {*unread, *entries}


def _unread(cfg: DictConfig) -> list[str]:
    """Sections, and entries of plain sections, that no run reads and no key refers to."""
    written = str(OmegaConf.to_container(cfg, resolve=False))
    keys = [name for name in map(str, cfg) if name not in SECTIONS]
    for section, names in SPLITS.items():
        keys += [f"{section}.{name}" for name in _entries(cfg, section) if name not in names]
    return [key for key in keys if not _is_referred_to(key, written)]


def _entries(cfg: DictConfig, section: str) -> list[str]:
    """Names in a plain section; none if it is absent or a call."""
    node = cfg.get(section)
    return list(map(str, node)) if isinstance(node, DictConfig) and "_target_" not in node else []


def _is_referred_to(key: str, written: str) -> bool:
    """Whether ``${key}``, or a relative ``${..name}``, stands in the text of a config."""
    name = re.escape(key.rpartition(".")[2])
    return bool(re.search(rf"\$\{{({re.escape(key)}|\.+{name})[.}}]", written))


def _unread_sentence(cfg: DictConfig, key: str) -> str:
    if "." not in key:
        return (
            f"'{key}' is not one of the sections {', '.join(SECTIONS)}.{nearest(key, SECTIONS)} "
            "The name of a helper in a config file starts with an underscore."
        )
    section = key.partition(".")[0]
    read = {f"{section}.{name}" for name in (*SPLITS[section], *_entries(cfg, section))} - {key}
    return (
        f"Nothing reads {key}.{nearest(key, read)} An entry of that section is a split, or a "
        f"value that others refer to as ${{{key}}}."
    )
