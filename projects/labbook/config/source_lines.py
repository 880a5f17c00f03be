"""The line inside a statement that writes a given key."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


def written_at(file: Path, line: int, key: str) -> int:
    """The line of the argument or entry that sets a key.

    Args:
        file: a Python file.
        line: a line of the statement that sets it.
        key: dotted key, whose first parts may be names of variables.

    Returns:
        The line of ``depth=2`` in ``model = L(Net)(backbone=L(ViT)(depth=2))`` for the key
        ``model.backbone.depth``; that of the statement where the key is not spelled out.
    """
    statement = _statement_at(file, line)
    if statement is None:
        return line
    parts = key.split(".")
    for start in range(len(parts)):  # the first parts may be the names left of the value
        for value in _values(statement):
            if (found := _follow(value, parts[start:])) is not None:
                return found
    return statement.lineno


def source_line(file: Path, line: int) -> str:
    """The text of a line without its indentation; "" if there is none."""
    lines = _lines(file)
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def _values(statement: ast.stmt) -> list[ast.AST]:
    """The expression of a statement and, of a comprehension, the one that it repeats."""
    value = getattr(statement, "value", None)
    repeated = value.value if isinstance(value, ast.DictComp) else getattr(value, "elt", None)
    return [node for node in (value, repeated) if node is not None]


def _follow(node: ast.AST, parts: list[str]) -> int | None:
    """The line of the entry at ``parts`` inside nested calls and dicts; None if there is none."""
    line = None
    for part in parts:
        if part not in _entries(node):
            return None
        line, node = _entries(node)[part]
    return line


def _entries(node: ast.AST) -> dict[str, tuple[int, ast.AST]]:
    """Line and value of the named parts of an expression."""
    if isinstance(node, ast.Call):
        return {k.arg: (k.lineno, k.value) for k in node.keywords if k.arg}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {str(k.value): (k.lineno, v) for k, v in pairs if isinstance(k, ast.Constant)}
    if isinstance(node, ast.List | ast.Tuple):
        return {str(index): (child.lineno, child) for index, child in enumerate(node.elts)}
    return {}


def _statement_at(file: Path, line: int) -> ast.stmt | None:
    """The innermost statement that covers a line."""
    covering = [s for s in _statements(file) if s.lineno <= line <= (s.end_lineno or s.lineno)]
    return max(covering, key=lambda statement: statement.lineno, default=None)


@cache
def _statements(file: Path) -> list[ast.stmt]:
    tree = ast.parse("\n".join(_lines(file)), str(file))
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]


@cache
def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()
