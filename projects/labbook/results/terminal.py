"""Tables on terminals of any width: the narrower, the fewer columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_PADDING, _EDGES = 3, 1  # characters of the border style


class Column(NamedTuple):
    """A column of a table for people."""

    title: str
    cell: Callable[[Any], str]
    """Its text for an item, which is a row of the table."""
    rank: int = 0
    """The higher, the sooner a narrow terminal does without; 0 stays."""
    folds: int = 0
    """Characters a line that long text may be folded to; 0: it is not folded."""
    is_text: bool = False
    """Whether it starts on the left, unlike numbers."""


def that_fit(columns: Sequence[Column], items: Sequence[Any], width: int) -> list[Column]:
    """The columns that a terminal has room for, at least those of rank 0."""
    shown = list(columns)
    while _width(shown, items) > width:
        last = max(reversed(shown), key=lambda column: column.rank)
        if not last.rank:
            break
        shown.remove(last)
    return shown


def print_columns(
    console: Console, title: str, columns: Sequence[Column], items: Sequence[Any]
) -> None:
    """Print a table; its text is folded where it is too wide even so."""
    is_tight = _width(columns, items) > console.width
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(
            column.title,
            justify="left" if column.is_text else "right",
            overflow="fold",
            no_wrap=not (column.folds or (is_tight and column.is_text)),
        )
    for item in items:
        table.add_row(*(column.cell(item) for column in columns))
    console.print(table, markup=False)


def print_hidden(
    console: Console, columns: Sequence[Column], shown: Sequence[Column], items: Sequence[Any]
) -> None:
    """Say which columns did not fit, if any, and where they are."""
    hidden = [column.title for column in columns if column not in shown]
    if hidden:
        text = f"A terminal of {_width(columns, items)} columns shows the others, as do the files"
        console.print(f"{text}: {', '.join(hidden)}.", markup=False, highlight=False)


def _width(columns: Sequence[Column], items: Sequence[Any]) -> int:
    """Characters that a table of the columns takes."""
    return _EDGES + sum(_PADDING + _column_width(column, items) for column in columns)


def _column_width(column: Column, items: Sequence[Any]) -> int:
    widest = max(map(len, [column.title, *(column.cell(item) for item in items)]))
    return min(widest, column.folds) if column.folds else widest
