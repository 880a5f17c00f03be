"""Load configs strictly, save them so that they reload equal, and tell two of them apart.

A config that loads here is data (:mod:`labbook.config.plain`), so a config file and the
``config.yaml`` of a run folder load alike. Detectron2 is imported only to load the former.
"""

from __future__ import annotations

import builtins
import os
import re
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, SCMode
from omegaconf.errors import OmegaConfBaseException

from labbook.config import resolvers as _resolvers  # noqa: F401  (registers them for ${...})
from labbook.config.experiment import told_by_file
from labbook.config.overrides import apply_overrides, keep_data_apart
from labbook.config.plain import to_data, without_live
from labbook.config.sections import SECTIONS, check_sections, refuse_unread, unread_keys
from labbook.config.signatures import MISSING, ConfigError, check_calls, nearest
from labbook.config.studies import real_config, toy_file
from labbook.config.trees import flatten, is_key, select, written
from runfolder.files import write_text
from runfolder.trust import TrustError, check_targets, targets
from runfolder.yaml_files import parse_yaml, read_yaml, to_yaml

_LOADER_PACKAGE = "detectron2._cfg_loader"  # Detectron2 runs config files in packages so named


def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, checks_overrides: bool = False
) -> DictConfig:
    """Load a config file (.py, or the .yaml of a run folder) and check all of it.

    A config with a section ``experiment`` is one of ours and is checked strictly. Any other is
    Detectron2's or somebody's: it may lack sections, hold live objects and have keys of its own.

    A .py file is a program and is run. A .yaml file names classes and functions: before one of them
    is imported, :mod:`runfolder.trust` says whether it may.

    Args:
        path: the file.
        overrides: ``key=value`` in hydra's grammar; ``+key=value`` adds a key.
        checks_overrides: whether what they name is checked for a program, too.

    Returns:
        The config with its interpolations, closed to new keys.

    Raises:
        ConfigError: the file is missing or fails, it is the record of a config with live objects,
            an override names an unknown key, a call has an argument that its target does not
            take, a .yaml file names what it may not; in one of ours also: a section or key is
            unknown or missing, a value has the wrong type or is a live object.
    """
    path = Path(path)
    cfg = read_config(path)
    is_ours = "experiment" in cfg
    is_data = path.suffix == ".yaml"
    is_checked = is_data or checks_overrides
    try:
        before = written(cfg)
        known = () if is_data else {*targets(before)}
        check_sections(before, path, is_ours)
        for text in overrides:
            apply_overrides(cfg, [text])
            if is_checked:
                check_targets(written(cfg), known=known)
        if is_checked:
            check_targets(to_plain(cfg), known=known, resolved=True)
        after = written(cfg)
        refuse_unread(after, [key for key in unread_keys(after) if not is_key(before, key)])
        # As written first: so the value at fault is named, not an interpolation that fails then.
        check_calls(after, names_only=not is_ours)
        check_calls(to_plain(cfg), names_only=not is_ours)
        if is_ours:
            keep_data_apart(cfg, before, after, path)
    except (ConfigError, TrustError) as error:
        raise ConfigError(f"{path}: {error}") from error
    OmegaConf.set_struct(cfg, True)
    return cfg


def save_config(cfg: DictConfig, folder: str | Path) -> None:
    """Write ``config.yaml`` (resolved) and ``config_source.yaml`` (with interpolations).

    A live object is written as ``{_live_: repr}``; :func:`load_config` refuses such a record.

    Raises:
        ConfigError: ``config.yaml`` would not reload equal.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    plain = without_live(to_plain(cfg))
    text = to_yaml(plain)
    # What is left of an escaped interpolation would be read as one.
    escaped = [key for key, value in flatten(plain).items() if "${" in str(value)]
    if changed := [*_differences(plain, parse_yaml(text)), *escaped]:
        raise ConfigError(f"The config would not reload equal from YAML: {', '.join(changed)}.")
    write_text(folder / "config.yaml", text)
    write_text(folder / "config_source.yaml", to_yaml(without_live(written(cfg))))


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
        raise ConfigError(f"{key}{reason}{_choices(cfg, reason)}") from error


def _choices(cfg: Any, reason: str) -> str:
    """What there is in the section where an interpolation looks for what is not there."""
    missing = re.search(r"'(.+)\.([^.]+)' not found", reason)
    found = select(written(cfg), missing[1]) if missing else None
    if missing is None or not isinstance(found, dict):
        return ""
    near = nearest(missing[2], found)
    return f".{near}" if near else f"; {missing[1]} has {', '.join(found)}."


def diff_configs(
    old: DictConfig, new: DictConfig, resolved: bool = True
) -> dict[str, tuple[Any, Any]]:
    """What changes from ``old`` to ``new``, once both are resolved or as they are written.

    Returns:
        (old value, new value) by dotted key; :data:`MISSING` where a side lacks the key. 1, 1.0
        and True differ, also inside lists.
    """
    return _differences(*(to_plain(cfg) if resolved else written(cfg) for cfg in (old, new)))


def _differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    before, after = flatten(old), flatten(new)
    keys = {**before, **after}
    pairs = {key: (before.get(key, MISSING), after.get(key, MISSING)) for key in keys}
    return {key: (a, b) for key, (a, b) in pairs.items() if repr(a) != repr(b) or a != b}


def read_config(path: Path, known: Collection[str] = ()) -> DictConfig:
    """A config file as data, unchecked but for what a .yaml file names.

    Args:
        path: the file.
        known: import paths that a .yaml file may name besides those of :mod:`runfolder.trust`.

    Raises:
        ConfigError: the file is missing or fails, or names what it may not.
    """
    if path.suffix not in (".py", ".yaml"):
        raise ConfigError(f"{path} is no config: expected a .py or .yaml file.")
    real = real_config(path)
    if real is None and not path.is_file():
        folders = path.parent, path.parent.parent.parent / path.parent.name  # toy, real
        names = {other.name for folder in folders for other in folder.glob(f"*{path.suffix}")}
        raise ConfigError(f"There is no config file {path}.{nearest(path.name, names)}")
    loaded = _read_yaml(path) if path.suffix == ".yaml" else _read_python(path, real is not None)
    raw: Any = OmegaConf.to_container(
        loaded, resolve=False, structured_config_mode=SCMode.DICT_CONFIG
    )
    if path.suffix == ".py" and isinstance(raw.get("experiment"), dict):
        raw["experiment"] = {**told_by_file(path, real or path), **raw["experiment"]}
    try:
        if path.suffix == ".yaml":
            check_targets(raw, known=known)
        return OmegaConf.create(to_data(raw), flags={"allow_objects": True})  # type: ignore[return-value]
    except (ConfigError, TrustError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_yaml(path: Path) -> DictConfig:
    try:
        loaded = OmegaConf.create(read_yaml(path))
    except Exception as error:
        raise ConfigError(f"{path} is not plain YAML: {error}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path} holds no sections; expected {', '.join(SECTIONS)}.")
    return loaded


def _read_python(path: Path, is_toy: bool) -> DictConfig:
    """Run a config file. Detectron2 leaves its import hook in place when that fails; not we."""
    from detectron2.config import LazyConfig

    maker = toy_file(path.parent)
    if is_toy and not maker.is_file():
        raise ConfigError(
            f"There is no toy version {path}: {maker} is missing, whose toy(name) would make it."
        )
    genuine_import: Any = builtins.__import__
    load: Any = LazyConfig.load
    try:
        return load(os.fspath(maker), "toy")(path.stem) if is_toy else load(os.fspath(path))
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
        if str(frame.f_globals.get("__package__") or "").startswith(_LOADER_PACKAGE):
            place = f"{frame.f_code.co_filename}, line {line}"
    return f"{place}: {type(error).__name__}: {error}"
