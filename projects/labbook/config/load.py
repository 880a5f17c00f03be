"""Load configs strictly, save them so that they reload equal, and tell two of them apart.

A config that loads here is plain: dicts, lists, numbers, strings and None, with the targets of
LazyCalls as import paths and the defaults of settings dataclasses written out. So a config file
and the ``config.yaml`` of a run folder load alike. Detectron2 is imported only to load the former.
"""

from __future__ import annotations

import builtins
import dataclasses
import os
import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, SCMode
from omegaconf.errors import OmegaConfBaseException

from labbook.config import resolvers as _resolvers  # noqa: F401  (registers them for ${...})
from labbook.config.overrides import apply_overrides, flatten
from labbook.config.signatures import MISSING, ConfigError, check_calls, locate, nearest, path_of
from runfolder.files import write_text

__all__ = ["SECTIONS", "ConfigError", "diff_configs", "load_config", "save_config", "to_plain"]

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
"""The top-level keys; a config has all of them and no others."""

SPLITS = {"dataloader": ("train", "valid", "test"), "evaluation": ("valid", "test")}
"""Sections that are plain dicts, with the entries that a run reads; other entries are there to be
referred to, as ``${dataloader.image_size}``."""

LOADER_PACKAGE = "detectron2._cfg_loader"
"""Detectron2 runs config files in packages whose names start so."""
_SCALARS = (type(None), bool, int, float, str)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Load a config file (.py, or the .yaml of a run folder) and check all of it.

    Args:
        path: the file.
        overrides: ``key=value`` in hydra's grammar; ``+key=value`` adds a key.

    Returns:
        The config with its interpolations, closed to new keys.

    Raises:
        ConfigError: the file is missing or fails, a section or key is unknown or missing, a value
            has the wrong type, or a value could not be saved as plain YAML.
    """
    path = Path(path)
    cfg = _read(path)
    try:
        _check_sections(cfg)
        known = set() if path.suffix == ".py" else _entries(cfg)  # a saved config refers to nothing
        _check_read(cfg, known)
        known = _entries(cfg)  # an override may take the last reference to what the file holds
        apply_overrides(cfg, overrides)
        _check_read(cfg, known)
        check_calls(OmegaConf.to_container(cfg, resolve=False))  # names the value at fault, not
        check_calls(to_plain(cfg))  # an interpolation that fails because of it
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    OmegaConf.set_struct(cfg, True)
    return cfg


def save_config(cfg: DictConfig, folder: str | Path) -> None:
    """Write ``config.yaml`` (resolved) and ``config_source.yaml`` (with interpolations).

    Raises:
        ConfigError: ``config.yaml`` would not reload equal.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    plain = to_plain(cfg)
    text = OmegaConf.to_yaml(OmegaConf.create(plain))
    reloaded = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    changed = sorted(_differences(plain, reloaded))
    if changed:
        raise ConfigError(f"The config would not reload equal from YAML: {', '.join(changed)}.")
    write_text(folder / "config.yaml", text)
    write_text(folder / "config_source.yaml", OmegaConf.to_yaml(cfg))


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
    before, after = dict(flatten(old)), dict(flatten(new))
    pairs = {
        key: (before.get(key, MISSING), after.get(key, MISSING)) for key in {**before, **after}
    }
    return {key: (a, b) for key, (a, b) in pairs.items() if type(a) is not type(b) or a != b}


def _read(path: Path) -> DictConfig:
    if path.suffix not in (".py", ".yaml"):
        raise ConfigError(f"{path} is no config: expected a .py or .yaml file.")
    if not path.is_file():
        names = {other.name for other in path.parent.glob(f"*{path.suffix}")}
        raise ConfigError(f"There is no config file {path}.{nearest(path.name, names)}")
    loaded = _read_python(path) if path.suffix == ".py" else _read_yaml(path)
    raw = OmegaConf.to_container(loaded, resolve=False, structured_config_mode=SCMode.DICT_CONFIG)
    try:
        return OmegaConf.create(_as_plain(raw, ""))  # type: ignore[return-value]
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
        return LazyConfig.load(os.fspath(path))  # type: ignore[return-value]
    except Exception as error:
        raise ConfigError(_failure(path, error)) from error
    finally:
        builtins.__import__ = genuine_import


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


def _as_plain(value: Any, key: str) -> Any:
    """A raw container with targets as import paths; anything that YAML cannot hold is refused."""
    if isinstance(value, dict):
        plain = {
            name: _target(child, f"{key}._target_".lstrip("."))
            if name == "_target_"
            else _as_plain(child, f"{key}.{name}".lstrip("."))
            for name, child in value.items()
        }
        return {**plain, **_settings_left_out(plain, key)}
    if isinstance(value, list | tuple):
        return [_as_plain(child, f"{key}.{index}") for index, child in enumerate(value)]
    if type(value) not in _SCALARS:
        raise ConfigError(
            f"{key} is {value!r}, a live object of type {type(value).__name__}. A config holds "
            "numbers, strings, lists, dicts and LazyCalls only, so that it can be saved and "
            "loaded again: name the object with a LazyCall or a string."
        )
    return value


def _settings_left_out(call: dict[Any, Any], key: str) -> dict[str, Any]:
    """Defaults of a settings dataclass for what a config does not set.

    So they can be overridden without a ``+``, and a saved config holds them even if the code's
    defaults change later.
    """
    if "_target_" not in call:
        return {}
    target = locate(call["_target_"], f"{key}._target_")
    if not dataclasses.is_dataclass(target):
        return {}
    defaults = {}
    for item in dataclasses.fields(target):
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        if item.init and item.name not in call and default is not dataclasses.MISSING:
            defaults[item.name] = _as_plain(default, f"{key}.{item.name}")
    return defaults


def _target(value: Any, key: str) -> str:
    if isinstance(value, DictConfig):  # Detectron2 0.5 lets OmegaConf open dataclass targets
        value = OmegaConf.get_type(value)
    if isinstance(value, str):
        return value
    if not callable(value):
        raise ConfigError(f"{key} is {value!r}; it must be a function or class.")
    return path_of(value, key)


def _check_sections(cfg: DictConfig) -> None:
    for name in cfg:
        if name not in SECTIONS:
            raise ConfigError(
                f"'{name}' is not one of the sections {', '.join(SECTIONS)}."
                + nearest(str(name), SECTIONS)
                + " The name of a helper in a config file starts with an underscore."
            )
    missing = [name for name in SECTIONS if name not in cfg]
    if missing:
        raise ConfigError(
            f"It lacks {', '.join(missing)}. A config has all sections; import them from its "
            "parent (LazyConfig.load_rel) or from configs/common."
        )


def _entries(cfg: DictConfig) -> set[str]:
    """Entries of the plain sections, as ``dataloader.num_workers``."""
    return {f"{section}.{name}" for section in SPLITS for name in cfg[section]}


def _check_read(cfg: DictConfig, known: set[str]) -> None:
    """Refuse entries of plain sections, besides the known ones, that no run and no key reads."""
    written = str(OmegaConf.to_container(cfg, resolve=False))
    read = {f"{section}.{name}" for section, names in SPLITS.items() for name in names}
    read |= {key for key in _entries(cfg) if re.search(rf"\$\{{{re.escape(key)}[.}}]", written)}
    for key in sorted(_entries(cfg) - read - known):
        raise ConfigError(
            f"Nothing reads {key}.{nearest(key, read)} An entry of that section is a split, or a "
            f"value that others refer to as ${{{key}}}."
        )
