"""Which line of which config file gave each value.

Config files are Python: a value may be written in one file, changed in a function of another and
imported by a third. So they are run under a trace. After each of their lines the dicts in sight
are compared with what they were before; what is new was set by that line. A part that equals one
known from elsewhere (an import, a loaded parent, a function's result) was taken over from there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf, SCMode

from labbook.config.load import LOADER_PACKAGE, load_config
from labbook.config.source_lines import written_at


class Place(NamedTuple):
    """A line of a config file."""

    file: Path
    line: int


@dataclass(frozen=True)
class Origin:
    """How a value came into a config."""

    value: Any
    place: Place
    """Where it is written."""
    taken_over: tuple[Place, ...] = ()
    """The lines that handed it on, as imports and loaded parents."""
    before: Origin | None = None
    """The value that it replaced."""


Origins = dict[str, Origin]  # by dotted key


def trace_origins(path: Path) -> Origins:
    """Load a config file once more and see where its values come from.

    Args:
        path: a config file that loads.

    Returns:
        Origin by dotted key, of all that a config file writes: defaults of settings dataclasses
        are not among them. A list without dicts in it is one value.
    """
    load_config(path)  # what the file imports is not to be traced
    watch = _Watch()
    earlier = sys.gettrace()
    sys.settrace(watch.enter)
    try:
        load_config(path)
    finally:
        sys.settrace(earlier)
    return watch.done[-1].origins if watch.done else {}


class _Part(NamedTuple):
    """A branch of what a scope holds."""

    path: str
    text: str
    """Its content."""
    origins: Origins
    """Of all that the scope holds."""


@dataclass
class _Scope:
    """A config file, or a call of a function in one, while it runs."""

    file: Path
    line: int
    trees: dict[str, Any] = field(default_factory=dict)
    """What its names held after the last line: plain trees."""
    identities: dict[str, int] = field(default_factory=dict)
    origins: Origins = field(default_factory=dict)
    inner: list[_Scope] = field(default_factory=list)
    """Files that it loaded and calls that it made, as they ended."""

    @cached_property
    def parts(self) -> list[_Part]:
        """All that others may take over, once it has ended."""
        return _parts_of(self)


class _Watch:
    """The trace function, and the scopes that are open."""

    def __init__(self) -> None:
        self.open: list[_Scope] = []
        self.done: list[_Scope] = []

    def enter(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        """Follow a frame if it is of a config file."""
        package = str(frame.f_globals.get("__package__") or "")
        if not package.startswith(LOADER_PACKAGE):
            return None
        self.open.append(_Scope(Path(os.path.normpath(frame.f_code.co_filename)), frame.f_lineno))
        return self.step

    def step(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        """Give what the last line set to that line."""
        scope = self.open[-1]
        if event == "line":
            _note(scope, _names(frame))
            scope.line = frame.f_lineno
        elif event == "return":
            result = {"": argument} if _is_tree(argument) else {}
            _note(scope, {**_names(frame), **result})
            self.open.pop()
            (self.open[-1].inner if self.open else self.done).append(scope)
        return self.step


def _names(frame: FrameType) -> dict[str, Any]:
    """What the names of a frame hold.

    To look at ``f_locals`` of a module makes Python 3.12 write them back afterwards, and spoils
    the variables of a comprehension that it runs there. A module's names are its globals.
    """
    return frame.f_globals if frame.f_code.co_name == "<module>" else frame.f_locals


def _note(scope: _Scope, names: Mapping[str, Any]) -> None:
    """Compare the names of a scope with what they held before, and give origins to changes."""
    known: list[_Part] | None = None
    for name, value in list(names.items()):
        if not _is_tree(value) or name.startswith("__"):
            continue
        tree = _plain(value)
        same_object = scope.identities.get(name) == id(value)
        old = scope.trees.get(name, _NOTHING) if same_object else _NOTHING
        if repr(old) != repr(tree):
            known = _known(scope) if known is None else known
            _give(scope, name, tree, old, known)
        scope.trees[name], scope.identities[name] = tree, id(value)


def _give(scope: _Scope, path: str, tree: Any, old: Any, known: Sequence[_Part]) -> None:
    """Set the origins of what changed at ``path`` from ``old`` to ``tree``."""
    if repr(tree) == repr(old):
        return
    children = _children(tree)
    if children is None:
        key = path.removesuffix("._target_")
        place = Place(scope.file, written_at(scope.file, scope.line, key))
        before = scope.origins.get(path)
        scope.origins[path] = Origin(tree, place, before=before)
        return
    for stale in [key for key in scope.origins if key == path or key.startswith(f"{path}.")]:
        if not _has(tree, stale[len(path) + 1 :]):
            del scope.origins[stale]
    adopted = _adopt(scope, path, tree, known)
    if adopted is not None:
        scope.origins.update(adopted)
        return
    earlier = dict(_children(old) or ())
    for name, child in children:
        _give(scope, f"{path}.{name}", child, earlier.get(name, _NOTHING), known)


def _adopt(scope: _Scope, path: str, tree: Any, known: Sequence[_Part]) -> Origins | None:
    """Origins of an equal part that is known from elsewhere, handed on by this line."""
    text, last = repr(tree), path.rpartition(".")[2]
    equal = [part for part in known if part.text == text]
    if not equal:
        return None
    source = next((part for part in equal if part.path.rpartition(".")[2] == last), equal[0])
    here = Place(scope.file, scope.line)
    taken = {}
    for key, origin in source.origins.items():
        if key == source.path or key.startswith(f"{source.path}."):
            places = (*origin.taken_over, here) if path else origin.taken_over
            target = path + key[len(source.path) :]
            taken[target] = Origin(origin.value, origin.place, places, origin.before)
    return taken


def _known(scope: _Scope) -> list[_Part]:
    """What may be taken over: its own, and of files and calls that ended, the latest first."""
    ended = [part for inner in reversed(scope.inner) for part in inner.parts]
    return _parts_of(scope) + ended


def _parts_of(scope: _Scope) -> list[_Part]:
    return [
        _Part(path, text, scope.origins)
        for name, tree in scope.trees.items()
        for path, text in _branches(tree, name)
    ]


def _branches(tree: Any, path: str) -> list[tuple[str, str]]:
    """Path and content of a tree and of all branches in it."""
    children = _children(tree)
    if children is None:
        return []
    inner = [found for name, child in children for found in _branches(child, f"{path}.{name}")]
    return [(path, repr(tree)), *inner]


def _children(tree: Any) -> list[tuple[str, Any]] | None:
    """Entries of a branch; None of a value. A list without dicts in it is a value."""
    if isinstance(tree, dict) and tree:
        return [(str(name), child) for name, child in tree.items()]
    if isinstance(tree, list) and any(_children(child) for child in tree):
        return [(str(index), child) for index, child in enumerate(tree)]
    return None


def _has(tree: Any, key: str) -> bool:
    for part in key.split(".") if key else ():
        inside = dict(_children(tree) or ())
        if part not in inside:
            return False
        tree = inside[part]
    return _children(tree) is None


def _is_tree(value: Any) -> bool:
    return isinstance(value, dict | DictConfig | ListConfig)


def _plain(value: Any) -> Any:
    """Dicts and lists of what a name of a config file holds; all else as it is."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(
            value, resolve=False, structured_config_mode=SCMode.DICT_CONFIG
        )
    if isinstance(value, dict):
        return {
            name: str(OmegaConf.get_type(child) if OmegaConf.is_config(child) else child)
            if name == "_target_"
            else _plain(child)
            for name, child in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return value


_NOTHING = object()
