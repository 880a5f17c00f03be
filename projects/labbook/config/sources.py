"""Which lines of which config files assign a key, read from the syntax trees of the files.

A key is followed backwards through what config files do: assignments and ``update``, keyword
arguments of nested calls and dicts, imports of bricks, loaded parents (``LazyConfig.load_rel``)
and functions that return configs. Nothing is run.
"""

from __future__ import annotations

import ast
import linecache
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from labbook.config.studies import real_config, toy_file

Parts = tuple[str, ...]  # of a dotted key; the first is a name of the file or function
Aliases = dict[str, list[Parts]]  # names that stand for parts of a config, or for keys


class Assignment(NamedTuple):
    """A line of a config file that assigns a key, and the expression that it assigns."""

    file: Path
    line: int
    value: ast.expr

    @property
    def text(self) -> str:
        """The line without its indentation."""
        return linecache.getline(str(self.file), self.line).strip()


def find_assignments(config_file: Path, key: str) -> Iterator[Assignment]:
    """Where a config file, or one that it builds on, assigns a dotted key; what holds comes first.

    Nothing, if no file does: then it is a default, or follows from the name of the file.
    """
    parts = tuple(key.split("."))
    if real_config(config_file) is None:
        return _in_scope(_module(config_file.absolute()), parts)
    module = _module(toy_file(config_file.absolute().parent))
    return _in_value(module, len(module.bindings), _toy_call(config_file.stem), parts, 1)


class _Import(NamedTuple):
    """``from ..file import name``."""

    file: Path
    name: str


class _Binding(NamedTuple):
    """What one statement binds: ``value`` at ``path``, below which the rest may stay as it was."""

    path: Parts
    value: ast.expr | _Import | None
    """None: it is deleted."""
    line: int
    replaces: bool = True


@dataclass(frozen=True, eq=False)
class _Scope:
    """A config file, or the function of one that is called."""

    file: Path
    body: Sequence[ast.stmt]
    module: _Scope | None = None
    """Of a function: its file."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Of a function: the text that it is given by parameter."""
    aliases: Aliases = field(default_factory=dict)
    """As they are at the end, once the bindings are read."""

    @cached_property
    def bindings(self) -> list[_Binding]:
        """In the order of the statements."""
        return list(_bindings(self.body, self.file, self.aliases))


@cache
def _module(file: Path) -> _Scope:
    return _Scope(file, ast.parse(file.read_text(encoding="utf-8"), str(file)).body)


@cache
def _toy_call(name: str) -> ast.expr:
    return ast.parse(f"toy({name!r})", mode="eval").body


def _bindings(body: Sequence[ast.stmt], file: Path, aliases: Aliases) -> Iterator[_Binding]:
    for node in body:
        match node:
            case ast.Assign():
                for target in node.targets:
                    yield from _assigned(target, node.value, aliases)
            case ast.AugAssign():
                yield from _assigned(node.target, node.value, aliases)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr="update")) as call):
                is_globals = ast.unparse(owner) == "globals()"
                for path in [()] if is_globals else _paths(owner, aliases):
                    yield from (_Binding(path, arg, call.lineno, False) for arg in call.args)
                    for word in call.keywords:
                        inner = (*path, word.arg) if word.arg else path
                        yield _Binding(inner, word.value, word.lineno, bool(word.arg))
            case ast.Delete(targets=targets):
                for path in [path for target in targets for path in _paths(target, aliases)]:
                    yield _Binding(path, None, node.lineno)
            case ast.ImportFrom(module=str(module), level=level) if level:
                source = file.parents[level - 1].joinpath(*module.split(".")).with_suffix(".py")
                for name in node.names:
                    bound = (name.asname or name.name,)
                    yield _Binding(bound, _Import(source, name.name), node.lineno)
            case ast.Return(value=ast.expr() as value):
                yield _Binding(("return",), value, node.lineno)
            case ast.For(
                target=ast.Name(id=name), iter=ast.List(elts=items) | ast.Tuple(elts=items)
            ):
                aliases[name] = [path for item in items for path in _keys(item, aliases)]
        if isinstance(node, ast.For | ast.If | ast.With):
            yield from _bindings([*node.body, *getattr(node, "orelse", ())], file, aliases)


def _assigned(target: ast.expr, value: ast.expr, aliases: Aliases) -> Iterator[_Binding]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its_value in zip(target.elts, value.elts, strict=False):
            yield from _assigned(one, its_value, aliases)
    elif isinstance(target, ast.Name):
        aliases.pop(target.id, None)
        yield _Binding((target.id,), value, target.lineno)
        if paths := _paths(value, aliases):  # a part of a config by another name
            aliases[target.id] = paths
    else:
        yield from (_Binding(path, value, target.lineno) for path in _paths(target, aliases))


def _paths(node: ast.expr, aliases: Aliases) -> list[Parts]:
    """The keys that ``a.b["c"][0]`` may stand for; none for other expressions."""
    match node:
        case ast.Name(id=name):
            return aliases.get(name, [(name,)])
        case ast.Attribute(value=owner, attr=name):
            return [(*path, name) for path in _paths(owner, aliases)]
        case ast.Subscript(value=owner, slice=index):
            return [(*a, *b) for a in _paths(owner, aliases) for b in _keys(index, aliases)]
    return []


def _keys(node: ast.expr, aliases: Aliases) -> list[Parts]:
    """What a constant, or the variable of a loop, may stand for in brackets."""
    return [(str(node.value),)] if isinstance(node, ast.Constant) else _paths(node, aliases)


def _in_scope(scope: _Scope, key: Parts, before: int | None = None) -> Iterator[Assignment]:
    """Assignments of a key by a scope's bindings before a given one, the last first."""
    stop = len(scope.bindings) if before is None else before
    if len(others := scope.aliases.get(key[0], [])) == 1 and before is None:
        key = (*others[0], *key[1:])
    for index in reversed(range(stop)):
        path, value, line, replaces = scope.bindings[index]
        if key[: len(path)] == path:
            found = list(_in_value(scope, index, value, key[len(path) :], line))
            yield from found
            if replaces and not found:
                return


def _in_value(
    scope: _Scope, index: int, node: ast.expr | _Import | None, key: Parts, line: int
) -> Iterator[Assignment]:
    """Assignments of a key inside the value of the scope's binding ``index``; ``line`` is where
    the value gets its name.
    """
    match node:
        case _Import(file, name):
            yield from _in_scope(_module(file), (name, *key))
        case ast.expr() if not key:
            yield Assignment(scope.file, line, node)
        case ast.Name() | ast.Attribute() | ast.Subscript() if paths := _paths(node, {}):
            name, *_ = paths[0]
            is_local = any(binding.path[:1] == (name,) for binding in scope.bindings)
            where = (scope, index) if is_local else (scope.module or scope, None)
            yield from _in_scope(where[0], (*paths[0], *key), where[1])
        case ast.Call() if called := _called(scope, index, node):
            yield from _in_scope(called[0], (*called[1], *key))
        case ast.DictComp(value=child) | ast.ListComp(elt=child):
            yield from _in_value(scope, index, child, key[1:], child.lineno)
        case _:
            entries = [entry for entry in _entries(node) if entry[0] in (key[0], None)]
            for name, child, its_line in entries:
                rest = key if name is None else key[1:]
                yield from _in_value(scope, index, child, rest, its_line)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not entries:
                yield Assignment(scope.file, line, node)  # the result of a function of a module


def _entries(node: ast.expr | None) -> list[tuple[str | None, ast.expr, int]]:
    """Name, value and line of the parts of an expression; no name where a part holds names."""
    match node:
        case ast.Call(keywords=words):
            return [(word.arg, word.value, word.lineno) for word in words]
        case ast.Dict(keys=keys, values=values):
            names = [None if k is None else str(getattr(k, "value", "")) for k in keys]
            return [(n, v, v.lineno) for n, v in zip(names, values, strict=True)]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [(str(number), item, item.lineno) for number, item in enumerate(items)]
    return []


@cache  # the bindings of a function are read once
def _called(scope: _Scope, index: int, call: ast.Call) -> tuple[_Scope, Parts] | None:
    """The file that a call loads, or the function of a config file, and what to look for there."""
    words = {word.arg: word.value for word in call.keywords}
    if ast.unparse(call.func).endswith("load_rel"):
        name, *keys = [_text(scope, index, node) for node in (*call.args, *words.values())]
        file = Path(os.path.normpath(scope.file.parent / name))
        return (_module(file), tuple(keys)) if file.is_file() else None
    module, name = scope.module or scope, getattr(call.func, "id", "")
    if isinstance(call.func, ast.Call) and (loaded := _called(scope, index, call.func)):
        module, name = loaded[0], ".".join(loaded[1])
    for binding in module.bindings:
        if binding.path == (name,) and isinstance(binding.value, _Import):
            module, name = _module(binding.value.file), binding.value.name
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            names = [argument.arg for argument in node.args.args]
            given = {**dict(zip(names, call.args, strict=False)), **words}
            texts = {str(name): _text(scope, index, value) for name, value in given.items()}
            return _Scope(module.file, node.body, module, texts), ("return",)
    return None


def _text(scope: _Scope, index: int, node: ast.expr) -> str:
    """The text that an expression stands for: a constant, a name of one, or an f-string."""
    match node:
        case ast.JoinedStr(values=parts):
            return "".join(_text(scope, index, part) for part in parts)
        case ast.FormattedValue(value=inner):
            return _text(scope, index, inner)
        case ast.Name(id=name):
            found = next(_in_scope(scope, (name,), index), None)
            return scope.texts.get(name, "") if found is None else _text(scope, index, found.value)
    return str(getattr(node, "value", ""))
