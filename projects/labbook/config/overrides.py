"""Apply ``key=value`` from the command line to a config; an unknown key is an error.

The grammar is hydra's, as in Detectron2's ``LazyConfig.apply_overrides``: ``a.b=1``,
``a.b=[1,2]``, ``a.b.0=1``, ``a={x:1}``, ``a=null``, ``+a.new=1``
(add), ``++a.b=1`` (add or change).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from labbook.config.signatures import MISSING, ConfigError, defaults_of
from labbook.config.studies import study_of_config
from labbook.config.trees import is_key, join, nearest_key, prefixes, select, written
from runfolder.names import CONFIG

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


_OWN_FOLDER = "/${experiment.name}"
_DATA = ("dataset.name", "dataset.root")


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


def keep_data_apart(cfg: DictConfig, before: Any, after: Any, path: Path) -> None:
    """Give runs on another data set than the config's a folder for themselves, in place.

    Where ``dataset.name`` or ``dataset.root`` was overridden, ``work_dirs/NAME`` becomes
    ``work_dirs/DATA/NAME``: DATA is the new name or, if that has stayed, the last part of the root.
    A ``train.output_dir`` that does not end in the experiment's name as an interpolation stays, and
    so does a run on the same data that lies in ``work_dirs/NAME`` already.

    Args:
        cfg: with its overrides.
        before: as the file says it, in plain dicts and lists.
        after: the same with the overrides.
        path: of the file.
    """
    output = select(before, "train.output_dir")
    is_usual = str(output).endswith(_OWN_FOLDER) and select(after, "train.output_dir") == output
    is_same = all(select(before, key) == select(after, key) for key in _DATA)
    if is_same or not is_usual or not is_key(after, "dataset.root"):
        return
    (own_name, _), (name, root) = usual, now = _usual_data_of(cfg, before, after), _data_of(cfg)
    project = (study_of_config(path) or (None, Path()))[1]
    if now == usual or now == _data_in(project / cfg.train.output_dir):
        return
    data = name if name != own_name else root.resolve().name
    folder = re.sub(r"[^\w.-]+", "_", data).strip(".") or "data"
    cfg.train.output_dir = f"{output.removesuffix(_OWN_FOLDER)}/{folder}{_OWN_FOLDER}"


def _data_of(cfg: DictConfig) -> tuple[str, Path]:
    """Name and root of the data set that a config names."""
    name, root = (OmegaConf.select(cfg, key) for key in _DATA)
    return str(name), Path(str(root))


def _usual_data_of(cfg: DictConfig, before: Any, after: Any) -> tuple[str, Path]:
    """What they would be without overrides of their own, but with all others."""
    keys = [key for key in _DATA if is_key(before, key)]
    try:
        for key in keys:
            OmegaConf.update(cfg, key, select(before, key))
        return _data_of(cfg)
    finally:
        for key in keys:
            OmegaConf.update(cfg, key, select(after, key))


def _data_in(folder: Path) -> tuple[str, Path] | None:
    """The same of the run in a folder; None if there is none, or its config is damaged."""
    try:
        return _data_of(OmegaConf.load(folder / CONFIG))  # type: ignore[arg-type]
    except Exception:  # YAML's and OmegaConf's errors have no common class
        return None


def _parse(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError) as error:  # of endless digits, brackets
        reason = str(error).splitlines()[0]
        shown = text if len(text) <= 200 else f"{text[:200]}..."
        raise ConfigError(f"'{shown}' is not of the form key=value: {reason}") from error


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
        if override.is_add():
            raise ConfigError(f"'{text}' adds a key that exists already; write it without the '+'.")
        return
    section = max((name for name in prefixes(key) if is_key(plain, name)), key=len, default="")
    found = select(plain, section) if section else plain
    if not isinstance(found, dict | list | None):
        raise ConfigError(
            f"'{text}': {section} is {found!r} and has no keys below it. Change {section} itself, "
            "or the section that it points to."
        )
    if not (override.is_add() or override.is_force_add()):
        raise ConfigError(f"'{text}': the config has no key '{key}'.{_advice(plain, key, text)}")


def _advice(plain: Any, key: str, text: str) -> str:
    section, _, name = key.rpartition(".")
    target = select(plain, join(section, "_target_"))
    if isinstance(target, str) and target != MISSING and name in defaults_of(target):
        return f" {target} takes it, though; to add it, write '+{text}'."
    return f"{nearest_key(plain, key)} A new key is added with '+key=value'."
